//! Whose machine a node is, by what its firmware says of itself.

use serde::Deserialize;

/// Azure's chassis tag: the same vendor and product name stand on every Hyper-V machine.
const AZURE_TAG: &str = "7783-7084-3265-9085-8269-3286-77";

/// Who runs the machines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// Amazon.
    Aws,
    /// Microsoft.
    Azure,
    /// Google.
    Gcp,
    /// Nobody known.
    #[default]
    None,
}

impl Provider {
    /// The name as [`holdfast_checks::facts::Node::provider`] gives it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Aws => "aws",
            Self::Azure => "azure",
            Self::Gcp => "gcp",
            Self::None => "none",
        }
    }
}

/// What the firmware says (`/sys/class/dmi/id`); empty where it says nothing.
#[derive(Debug, Clone, Default)]
pub struct Machine {
    /// `sys_vendor`.
    pub vendor: String,
    /// `product_name`.
    pub product: String,
    /// `chassis_asset_tag`.
    pub chassis: String,
}

impl Machine {
    /// Whose it is.
    pub fn provider(&self) -> Provider {
        match (self.vendor.trim(), self.product.trim()) {
            ("Amazon EC2", _) => Provider::Aws,
            ("Google", _) | (_, "Google Compute Engine") => Provider::Gcp,
            ("Microsoft Corporation", _) if self.chassis.trim() == AZURE_TAG => Provider::Azure,
            _ => Provider::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("Amazon EC2\n", "m5.large\n", "", Provider::Aws)]
    #[case("Google", "Google Compute Engine", "", Provider::Gcp)]
    #[case("Microsoft Corporation", "Virtual Machine", "7783-7084-3265-9085-8269-3286-77\n", Provider::Azure)]
    #[case("Microsoft Corporation", "Virtual Machine", "2345-1", Provider::None)]
    #[case("QEMU", "Standard PC", "", Provider::None)]
    #[case("", "", "", Provider::None)]
    fn the_firmware_tells_whose_machine_it_is(
        #[case] vendor: &str,
        #[case] product: &str,
        #[case] chassis: &str,
        #[case] expected: Provider,
    ) {
        let machine = Machine { vendor: vendor.to_owned(), product: product.to_owned(), chassis: chassis.to_owned() };
        assert_eq!(machine.provider(), expected);
    }
}
