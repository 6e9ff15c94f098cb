//! How long certificates still hold. The only derivation that needs a date, so it is a step of its own.

use jiff::civil::{Date, date};

use crate::facts::{Certificate, NodeFacts, Observed, Source, SourceKind};

const SECONDS_OF_DAY: i64 = 24 * 60 * 60;

/// Fills [`crate::facts::CertificateFact::days_left`] as of `today`, in UTC: the days from today's to that of the expiry, so 0 on
/// the last day and below from then on. Idempotent.
pub fn dates(facts: &mut NodeFacts, today: Date) {
    let today_number = days_since_epoch(today);
    for fact in facts.certificates.value_mut().into_iter().flat_map(|listing| &mut listing.items) {
        fact.days_left = match &fact.certificate {
            Observed::Known { value, at, .. } => {
                Observed::known(days_left(value, today_number), Source::new(SourceKind::Derived, format!("{today}")), *at)
            }
            Observed::Unavailable(why) => Observed::Unavailable(why.clone()),
        };
    }
}

fn days_left(certificate: &Certificate, today: i64) -> i64 {
    certificate.not_after.div_euclid(SECONDS_OF_DAY).saturating_sub(today)
}

fn days_since_epoch(day: Date) -> i64 {
    i64::from(day.since(date(1970, 1, 1)).map_or(0, |span| span.get_days()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case::that_evening(1_798_761_599, 0)]
    #[case::at_midnight_after(1_798_761_600, 1)]
    #[case::the_day_before(1_798_675_199, -1)]
    #[case::long_ago(-1, -20_819)]
    #[case::hostile(i64::MAX, 106_751_991_146_482)]
    fn days_are_counted_by_the_calendar(#[case] not_after: i64, #[case] left: i64) {
        let certificate = Certificate {
            name: String::new(),
            common_name: String::new(),
            organizations: Vec::new(),
            issuer: String::new(),
            self_signed: false,
            authority: false,
            not_before: 0,
            not_after,
            lifetime_days: 0,
            key: String::new(),
            key_bits: 0,
            signature: String::new(),
            names: Vec::new(),
            fingerprint: String::new(),
            key_fingerprint: String::new(),
        };
        assert_eq!(days_left(&certificate, days_since_epoch(date(2026, 12, 31))), left);
    }
}
