//! Settings: what may be written where, what it means, and what is said when it is wrong.

mod fixture;
mod layers;
mod names;
mod reload;
mod shapes;
mod shown;
mod structs;
mod wrong;
