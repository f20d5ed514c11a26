//! dane
