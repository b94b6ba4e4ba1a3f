//! The module process as a program of its own, for tests and for hosts that are no single binary.

fn main() {
    fazai_modhost::child_main()
}
