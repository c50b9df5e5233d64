//! What the tests share; nothing here ships.
