//! The keeper of a command as a program of its own, for tests and for hosts that are no single
//! binary.

fn main() {
    fazai_tools::confined_main()
}
