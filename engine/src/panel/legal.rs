//! What a panel may want: the table, cut down to what the venue can do.

use crds::AssetClass;

use super::Action;
use crate::output::Side;

/// The actions that make sense for an asset of that class with that position. Crypto and stocks are
/// bought and held: their venues do not sell what one has not got.
pub const fn legal_actions(class: AssetClass, position: Option<Side>) -> &'static [Action] {
    match (position, class) {
        (Some(_), _) => &[Action::Close, Action::Hold],
        (None, AssetClass::Forex) => &[Action::OpenLong, Action::OpenShort, Action::Hold],
        (None, AssetClass::Crypto | AssetClass::Stock) => &[Action::OpenLong, Action::Hold],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spot_is_long_only_and_a_flip_is_close_now_open_next_cycle() {
        assert!(!legal_actions(AssetClass::Crypto, None).contains(&Action::OpenShort));
        assert!(legal_actions(AssetClass::Forex, None).contains(&Action::OpenShort));
        for class in [AssetClass::Crypto, AssetClass::Forex, AssetClass::Stock] {
            assert!(!legal_actions(class, None).contains(&Action::Close));
            let held = legal_actions(class, Some(Side::Long));
            assert!(held.iter().all(|action| action.opens().is_none()));
            assert!(held.contains(&Action::Hold));
        }
    }
}
