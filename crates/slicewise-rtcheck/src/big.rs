//! Just enough big integers to compare fractions exactly.

use core::cmp::Ordering;

/// A non-negative integer of any size: 64-bit digits, least significant first, no leading zeros.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Big {
    digits: Vec<u64>,
}

impl Big {
    pub(crate) fn of(value: u128) -> Self {
        let mut big = Self { digits: vec![value as u64, (value >> 64) as u64] };
        big.trim();
        big
    }

    fn trim(&mut self) {
        while self.digits.last() == Some(&0) {
            self.digits.pop();
        }
    }

    pub(crate) fn times(&self, factor: u64) -> Self {
        let mut digits = Vec::with_capacity(self.digits.len() + 1);
        let mut carry = 0_u64;
        for digit in &self.digits {
            let product = u128::from(*digit) * u128::from(factor) + u128::from(carry);
            digits.push(product as u64);
            carry = (product >> 64) as u64;
        }
        digits.push(carry);
        let mut big = Self { digits };
        big.trim();
        big
    }

    pub(crate) fn times_u128(&self, factor: u128) -> Self {
        let mut high = self.times((factor >> 64) as u64);
        if !high.digits.is_empty() {
            high.digits.insert(0, 0);
        }
        high.plus(&self.times(factor as u64))
    }

    pub(crate) fn plus(&self, other: &Self) -> Self {
        let mut digits = Vec::with_capacity(self.digits.len().max(other.digits.len()) + 1);
        let mut carry = 0_u128;
        for at in 0..self.digits.len().max(other.digits.len()) {
            let digit = |big: &Self| u128::from(big.digits.get(at).copied().unwrap_or(0));
            let sum = digit(self) + digit(other) + carry;
            digits.push(sum as u64);
            carry = sum >> 64;
        }
        digits.push(carry as u64);
        let mut big = Self { digits };
        big.trim();
        big
    }
}

impl PartialOrd for Big {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Big {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_length = self.digits.len().cmp(&other.digits.len());
        by_length.then_with(|| self.digits.iter().rev().cmp(other.digits.iter().rev()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_products_and_sums_are_those_of_u128() {
        for (a, b) in [(0, 7), (1, 1), (u64::MAX, u64::MAX), (1 << 63, 3), (12_345, 67_890)] {
            let (wide_a, wide_b) = (u128::from(a), u128::from(b));
            assert_eq!(Big::of(wide_a).times(b), Big::of(wide_a * wide_b));
            assert_eq!(Big::of(wide_a).times_u128(wide_b), Big::of(wide_a * wide_b));
            assert_eq!(Big::of(wide_a).plus(&Big::of(wide_b)), Big::of(wide_a + wide_b));
            assert_eq!(Big::of(wide_a).cmp(&Big::of(wide_b)), a.cmp(&b));
        }
    }

    #[test]
    fn digits_carry_beyond_128_bits() {
        // (2^64 - 1)^3 = 2^192 - 3·2^128 + 3·2^64 - 1.
        let cube = Big::of(u128::from(u64::MAX)).times(u64::MAX).times(u64::MAX);
        assert_eq!(cube.digits, [u64::MAX, 2, u64::MAX - 2]);
        let shifted = Big::of(5).times_u128(1 << 64).times_u128(1 << 64);
        assert_eq!(shifted.digits, [0, 0, 5]);
    }
}
