//! Lengths of time in the configuration, each with the unit of its key.
//!
//! They are read from a plain number of that unit, or from a text with units of its own (see [`length`]), and written
//! as the plain number. So only whole numbers of the unit are taken.

use std::{fmt, marker::PhantomData, time::Duration};

use jiff::SignedDuration;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::length;

/// The unit that a plain number of a key counts.
pub trait Unit {
    const MILLIS: u32;
    const PLURAL: &'static str;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Millisecond {}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Second {}

/// 24 hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Day {}

impl Unit for Millisecond {
    const MILLIS: u32 = 1;
    const PLURAL: &'static str = "milliseconds";
}

impl Unit for Second {
    const MILLIS: u32 = 1000;
    const PLURAL: &'static str = "seconds";
}

impl Unit for Day {
    const MILLIS: u32 = 24 * 3600 * 1000;
    const PLURAL: &'static str = "days";
}

/// A length of time that is a whole number of units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnitLength<U> {
    count: u32,
    unit: PhantomData<U>,
}

pub type Milliseconds = UnitLength<Millisecond>;
pub type Seconds = UnitLength<Second>;
pub type Days = UnitLength<Day>;

impl<U: Unit> UnitLength<U> {
    /// 136 years, so that it can be added to any present time, or as many units as are counted.
    pub const MOST: u32 = if U::MILLIS > 1000 { u32::MAX / (U::MILLIS / 1000) } else { u32::MAX };

    /// Creates a length of so many units, [`MOST`](Self::MOST) of them if there are more.
    pub const fn new(count: u32) -> Self {
        Self { count: if count < Self::MOST { count } else { Self::MOST }, unit: PhantomData }
    }

    /// Number of units.
    pub const fn count(self) -> u32 {
        self.count
    }

    pub fn duration(self) -> Duration {
        Duration::from_millis(u64::from(self.count) * u64::from(U::MILLIS))
    }

    /// The same length, in the type that is added to points in time.
    pub fn signed(self) -> SignedDuration {
        SignedDuration::from_millis(i64::from(self.count) * i64::from(U::MILLIS))
    }

    fn of_number(number: u128) -> Result<Self, String> {
        let count = u32::try_from(number).ok().filter(|count| *count <= Self::MOST);
        count.map(Self::new).ok_or_else(|| format!("the most is {} {}", Self::MOST, U::PLURAL))
    }

    fn of_text(text: &str) -> Result<Self, String> {
        let nanos = length::parse(text)?.as_nanos();
        let unit = u128::from(U::MILLIS) * 1_000_000;
        if nanos.is_multiple_of(unit) {
            return Self::of_number(nanos / unit);
        }
        Err(format!("it is not a whole number of {}", U::PLURAL))
    }
}

impl<U> Serialize for UnitLength<U> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(self.count)
    }
}

impl<'de, U: Unit> Deserialize<'de> for UnitLength<U> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Visitor(PhantomData))
    }
}

struct Visitor<U>(PhantomData<U>);

fn named<T, E: de::Error, U: Unit>(value: impl fmt::Display, read: Result<T, String>) -> Result<T, E> {
    read.map_err(|why| E::custom(format!("`{value}` cannot be used: {why}; a plain number counts {}", U::PLURAL)))
}

impl<U: Unit> de::Visitor<'_> for Visitor<U> {
    type Value = UnitLength<U>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a whole number of {}, or a length of time such as \"3d\" or \"1h 30m\"", U::PLURAL)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Self::Value, E> {
        named::<_, _, U>(number, UnitLength::of_number(number.into()))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Self::Value, E> {
        let length = u128::try_from(number).map_err(|_| length::NEGATIVE.to_owned()).and_then(UnitLength::of_number);
        named::<_, _, U>(number, length)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        named::<_, _, U>(text, UnitLength::of_text(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    struct Keys {
        pause: Option<Seconds>,
        freeze: Option<Milliseconds>,
        age: Option<Days>,
    }

    fn read(text: &str) -> Result<Keys, String> {
        toml::from_str(text).map_err(|error| error.message().to_owned())
    }

    #[test]
    fn a_number_counts_the_unit_of_the_key_and_a_text_has_its_own() {
        for (text, count) in
            [("0", 0), ("90", 90), ("\"90s\"", 90), ("\"2m\"", 120), ("\"1h 30m\"", 5400), ("\"0s\"", 0)]
        {
            assert_eq!(read(&format!("pause = {text}")).expect(text).pause, Some(Seconds::new(count)), "{text}");
        }
        for (text, count) in [("1000", 1000), ("\"1s\"", 1000), ("\"250ms\"", 250), ("\"1.5s\"", 1500)] {
            assert_eq!(read(&format!("freeze = {text}")).expect(text).freeze, Some(Milliseconds::new(count)), "{text}");
        }
        for (text, count) in [("15", 15), ("\"3d\"", 3), ("\"2w\"", 14), ("\"48h\"", 2), ("49710", 49_710)] {
            assert_eq!(read(&format!("age = {text}")).expect(text).age, Some(Days::new(count)), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_used_is_named_with_what_can() {
        for (text, said) in [
            ("pause = -5", "`-5` cannot be used: it cannot be negative; a plain number counts seconds"),
            ("pause = \"-5s\"", "`-5s` cannot be used: it cannot be negative"),
            ("pause = \"500ms\"", "`500ms` cannot be used: it is not a whole number of seconds"),
            ("pause = \"1500ms\"", "it is not a whole number of seconds"),
            ("pause = \"a minute\"", "`a minute` cannot be used: write a number and a unit: 90s,"),
            ("pause = \"90\"", "`90` cannot be used: it has no unit;"),
            ("pause = 4294967296", "`4294967296` cannot be used: the most is 4294967295 seconds"),
            ("pause = \"50000d\"", "`50000d` cannot be used: the most is 4294967295 seconds"),
            ("pause = \"4294967296w\"", "`4294967296w` cannot be used: write a number and a unit"),
            ("pause = 1.5", "expected a whole number of seconds, or a length of time such as"),
            ("pause = []", "expected a whole number of seconds"),
            ("freeze = \"100us\"", "it is not a whole number of milliseconds; a plain number counts milliseconds"),
            ("freeze = \"50d\"", "the most is 4294967295 milliseconds"),
            ("age = \"36h\"", "`36h` cannot be used: it is not a whole number of days; a plain number counts days"),
            ("age = 49711", "`49711` cannot be used: the most is 49710 days"),
        ] {
            let why = read(text).expect_err(text);
            assert!(why.contains(said), "{text}: {why}");
        }
    }

    #[test]
    fn it_is_written_as_the_number() {
        for (json, text) in [(serde_json::json!(Seconds::new(90)), "90"), (serde_json::json!(Days::new(3)), "3")] {
            assert_eq!(json.to_string(), text);
        }
        assert_eq!(Days::new(2).duration(), Duration::from_secs(2 * 86_400));
        assert_eq!(Milliseconds::new(1500).signed(), SignedDuration::from_millis(1500));
        assert_eq!(Days::new(u32::MAX), Days::new(Days::MOST));
    }
}
