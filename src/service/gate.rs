//! How a unit is kept from starting, by what its file is.
//!
//! Disabling succeeds and does nothing for units that have no links to remove: those that a
//! generator made from an init script, static ones, and those that another unit pulls in. What
//! takes effect for them is a mask.

/// What keeps a unit from starting again once it is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bar {
    /// Nothing more: it does not start by itself.
    Nothing,
    /// Its links are removed.
    Disable,
    /// Its name is made to lead to nothing.
    Mask,
}

impl Bar {
    /// Chooses by `UnitFileState`, which is nothing for a unit without a file, and by whether
    /// another unit wants it.
    pub fn of(state: Option<&str>, wanted: bool) -> Self {
        match state {
            None | Some("masked") => Self::Nothing,
            Some("enabled") => Self::Disable,
            Some("disabled" | "linked" | "linked-runtime") if !wanted => Self::Nothing,
            // Also for what a later systemd may call a state: a mask takes effect for every kind.
            Some(_) => Self::Mask,
        }
    }

    /// Chooses for a unit on which disabling, where it was the choice, has been tried.
    pub fn after_disabling(state: Option<&str>, wanted: bool) -> Self {
        match Self::of(state, wanted) {
            Self::Nothing => Self::Nothing,
            Self::Disable | Self::Mask => Self::Mask,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Bar::{self, Disable, Mask, Nothing};

    #[test]
    fn what_takes_effect_for_each_kind() {
        let cases = [
            // state, wanted by another unit, choice at first, choice after disabling
            (None, false, Nothing, Nothing),
            (None, true, Nothing, Nothing),
            (Some("enabled"), false, Disable, Mask),
            (Some("enabled"), true, Disable, Mask),
            // Disabling removes what is in /etc, not what is in /run.
            (Some("enabled-runtime"), false, Mask, Mask),
            (Some("disabled"), false, Nothing, Nothing),
            (Some("disabled"), true, Mask, Mask),
            (Some("linked"), false, Nothing, Nothing),
            (Some("linked"), true, Mask, Mask),
            (Some("linked-runtime"), false, Nothing, Nothing),
            (Some("static"), false, Mask, Mask),
            (Some("indirect"), false, Mask, Mask),
            (Some("alias"), false, Mask, Mask),
            (Some("generated"), true, Mask, Mask),
            (Some("transient"), false, Mask, Mask),
            (Some("bad"), false, Mask, Mask),
            (Some("masked"), true, Nothing, Nothing),
            // Gone with the next boot.
            (Some("masked-runtime"), false, Mask, Mask),
            (Some("of the year 2040"), false, Mask, Mask),
        ];
        for (state, wanted, first, second) in cases {
            assert_eq!(Bar::of(state, wanted), first, "{state:?}, wanted: {wanted}");
            assert_eq!(Bar::after_disabling(state, wanted), second, "{state:?}, wanted: {wanted}, disabled");
        }
    }
}
