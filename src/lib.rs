//! A whole DuskEVM rollup node in one program of supervised actors.
