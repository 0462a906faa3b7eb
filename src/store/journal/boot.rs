//! Which boot of the machine this is: what was written but not synced outlives a process, not a boot.

use std::fs;

/// The kernel's name for the time since it was booted. An unknown one equals no other, itself included.
#[derive(Clone, Copy, Debug)]
pub struct BootId([u8; 16]);

impl BootId {
    const UNKNOWN: Self = Self([0; 16]);

    /// Of the present boot; unknown where the kernel does not say.
    pub fn read() -> Self {
        let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        Self::parse(&text).unwrap_or(Self::UNKNOWN)
    }

    /// From the bytes of a file.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// For a file.
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0
    }

    /// Whether both are known and the same.
    pub fn is_same(self, other: Self) -> bool {
        self.0 == other.0 && self.0 != Self::UNKNOWN.0
    }

    fn parse(text: &str) -> Option<Self> {
        let digits: String = text.trim().chars().filter(|&letter| letter != '-').collect();
        let is_hex = digits.len() == 32 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        let number = is_hex.then(|| u128::from_str_radix(&digits, 16).ok()).flatten()?;
        Some(Self(number.to_be_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boot_is_known_by_its_uuid() {
        let text = "0b5a3a1e-98f1-4d2c-a7e0-5d6f0c1b2a39\n";
        let boot = BootId::parse(text).unwrap();
        assert_eq!(boot.to_bytes()[..3], [0x0b, 0x5a, 0x3a]);
        assert!(boot.is_same(BootId::from_bytes(boot.to_bytes())));
        assert!(!boot.is_same(BootId::from_bytes([7; 16])));
        for odd in ["", "0b5a3a1e", "+b5a3a1e98f14d2ca7e05d6f0c1b2a39", &text.replace('a', "g")] {
            assert!(BootId::parse(odd).is_none(), "{odd}");
        }
    }

    #[test]
    fn the_kernel_tells_its_boot_and_an_unknown_one_is_never_the_same() {
        assert!(BootId::read().is_same(BootId::read()));
        assert!(!BootId::UNKNOWN.is_same(BootId::UNKNOWN));
    }
}
