//! The keeper of a command as a program of its own, for tests.

fn main() {
    fazai_tools::confined_main()
}
