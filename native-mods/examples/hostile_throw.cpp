// The C++ part of hostile: an exception that nobody on the way out can catch. See hostile.c.
#include <stdexcept>

extern "C" void hostile_throw(void);

void hostile_throw(void) {
    throw std::runtime_error("thrown across the border");
}
