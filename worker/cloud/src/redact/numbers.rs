//! Numbers that belong to somebody's money: cards and accounts. Their check digits tell them from
//! all the other numbers that logs are full of.

use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;

use super::find::patterns;

/// Digits at once, or in the groups that are printed on cards.
static CARD: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    patterns(&[
        r"\d{13,19}|\d{4}(?: \d{4}){3}(?: \d{3})?|\d{4}(?:-\d{4}){3}(?:-\d{3})?|\d{4} \d{6} \d{4,5}|\d{4}-\d{6}-\d{4,5}",
    ])
});
/// Whether it is one says its check.
static IBAN: LazyLock<Vec<Regex>> =
    LazyLock::new(|| patterns(&[r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b"]));
/// No account has a shorter or a longer one.
const IBAN_LENGTH: std::ops::RangeInclusive<usize> = 15..=34;

/// Numbers of cards.
pub(super) fn cards(text: &str) -> impl Iterator<Item = Range<usize>> + '_ {
    let found = CARD.iter().flat_map(|pattern| pattern.find_iter(text));
    found
        .filter(|found| stands_alone(text, &found.range()))
        .filter(|found| is_card(found.as_str()))
        .map(|found| found.range())
}

/// Numbers of accounts.
pub(super) fn accounts(text: &str) -> impl Iterator<Item = Range<usize>> + '_ {
    let found = IBAN.iter().flat_map(|pattern| pattern.find_iter(text));
    found.filter_map(|found| {
        let mut number = found.as_str();
        // A word in capitals may follow it.
        while !is_account(number) {
            number = number.rsplit_once(' ')?.0;
        }
        Some(found.start()..found.start() + number.len())
    })
}

/// Whether it is no part of a longer number, of a hash, an id or a version.
fn stands_alone(text: &str, range: &Range<usize>) -> bool {
    !goes_on(text[..range.start].chars().rev()) && !goes_on(text[range.end..].chars())
}

fn goes_on(mut chars: impl Iterator<Item = char>) -> bool {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    match chars.next() {
        Some('-' | '.' | ':') => chars.next().is_some_and(word),
        Some(c) => word(c),
        None => false,
    }
}

/// By the numbers that its issuers have, and its last digit.
fn is_card(text: &str) -> bool {
    let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(10)).collect();
    let start = |count: usize| {
        digits
            .iter()
            .take(count)
            .fold(0, |all, digit| 10 * all + digit)
    };
    let lengths: &[usize] = match (start(1), start(2), start(4)) {
        (4, ..) => &[13, 16, 19],
        (_, 34 | 37, _) => &[15],
        (_, 36 | 38, _) | (_, _, 3000..=3059) => &[14],
        (_, 62, _) => &[16, 17, 18, 19],
        (_, 51..=55 | 65, _) | (_, _, 2221..=2720 | 3528..=3589 | 6011 | 6440..=6499) => &[16],
        _ => &[],
    };
    lengths.contains(&digits.len()) && luhn(&digits)
}

fn luhn(digits: &[u32]) -> bool {
    let sum: u32 = (digits.iter().rev().enumerate())
        .map(|(at, digit)| match at % 2 {
            0 => *digit,
            _ => digit * 2 / 10 + digit * 2 % 10,
        })
        .sum();
    sum.is_multiple_of(10)
}

/// By the check digits behind its country.
fn is_account(text: &str) -> bool {
    let signs: Vec<u32> = (text.chars()).filter_map(|c| c.to_digit(36)).collect();
    if !IBAN_LENGTH.contains(&signs.len()) {
        return false;
    }
    let (country, rest) = signs.split_at(4);
    let append = |rest: u32, sign: &u32| match sign {
        0..10 => (rest * 10 + sign) % 97,
        _ => (rest * 100 + sign) % 97,
    };
    rest.iter().chain(country).fold(0, append) == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cards_are_told_by_their_check_digit() {
        for (text, card) in [
            ("pay by 4111111111111111.", "4111111111111111"),
            ("4111 1111 1111 1111, please", "4111 1111 1111 1111"),
            ("card=5500-0000-0000-0004", "5500-0000-0000-0004"),
            ("3782 822463 10005", "3782 822463 10005"),
            ("\"6011000990139424\"", "6011000990139424"),
        ] {
            let found: Vec<&str> = cards(text).map(|range| &text[range]).collect();
            assert_eq!(found, [card], "{text}");
        }
        for text in [
            "4111111111111112",
            "1764000000000000",
            "41111111111111111111",
            "id-4111111111111111-x",
            "a4111111111111111",
            "41234567-1234-4234-1234-123456789012",
            "4111111111111111.5",
            "2026-11-22 17:08:39.411111111111",
            "",
        ] {
            assert_eq!(cards(text).next(), None, "{text}");
        }
    }

    #[test]
    fn accounts_are_told_by_their_check_digits() {
        for (text, account) in [
            ("to DE89370400440532013000 now", "DE89370400440532013000"),
            ("GB82 WEST 1234 5698 7654 32", "GB82 WEST 1234 5698 7654 32"),
            (
                "PT50 0002 0123 1234 5678 9015 4 NOW",
                "PT50 0002 0123 1234 5678 9015 4",
            ),
            (
                "PL61 1090 1014 0000 0712 1981 2874 NOW",
                "PL61 1090 1014 0000 0712 1981 2874",
            ),
        ] {
            let found: Vec<&str> = accounts(text).map(|range| &text[range]).collect();
            assert_eq!(found, [account], "{text}");
        }
        for text in [
            "DE89370400440532013001",
            "AB12CDEF3456GHIJ7890",
            "DE89 3704",
            "CVE2024",
        ] {
            assert_eq!(accounts(text).next(), None, "{text}");
        }
    }
}
