//! Chance that can be had again: for stories that are told by a seed.

/// A small generator: the same seed gives the same life.
pub struct Dice(pub u64);

impl Dice {
    /// A number below that of the sides.
    pub fn roll(&mut self, sides: usize) -> usize {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % sides as u64).unwrap()
    }

    /// One of these.
    pub fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.roll(of.len())]
    }
}

/// A number that was asked for in the environment.
pub fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|value| value.parse().ok())
}

/// Says how what failed is tried again.
pub struct Again {
    pub seed: u64,
    /// What the test's name contains.
    pub of: &'static str,
}

impl Drop for Again {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("it was seed {0}: COOLOPS_SEED={0} ./just test {1}", self.seed, self.of);
        }
    }
}
