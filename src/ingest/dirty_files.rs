//! The decisions on 21 kinds of bad price files, each made here from a good series, and checked against the real
//! examples in `FORECASTD_TEST_DATA/dirty` where that folder is given.

use std::path::Path;

use crate::ingest::parse::{Accepted, Parsed, PriceSeries, parse, parse_from};
use crate::market::bar::{Action, Day};
use crate::market::calendar;

const HEADER: &str = "Date,Open,High,Low,Close,Adj Close,Volume";

/// What a careful user wants of a file.
enum Decision {
    /// That many bars, and exactly these warnings, each by a part of its text.
    Accept(usize, &'static [&'static str]),
    /// One of the problems begins with the file name and this text.
    Refuse(&'static str),
}
use Decision::{Accept, Refuse};

/// The 64 lines of a good series under its header: line 2 is 2022-03-01, line 65 is 2022-05-31.
fn good_lines() -> Vec<String> {
    let (first, last) = (day(2022, 3, 1), day(2022, 5, 31));
    let sessions = first.iter_days().take_while(|d| *d <= last).filter(|d| calendar::is_session(*d));
    let row = |(i, session): (usize, Day)| {
        let close = 100.0 + 10.0 * (i as f64 * 0.7).sin();
        let (open, high, low) = (close - 0.5, close + 1.25, close - 1.5);
        format!("{session},{open:.6},{high:.6},{low:.6},{close:.6},{:.6},{}", close * 0.965_746, 20_000_000 + 1000 * i)
    };
    std::iter::once(HEADER.to_owned()).chain(sessions.enumerate().map(row)).collect()
}

fn day(year: i32, month: u32, date: u32) -> Day {
    Day::from_ymd_opt(year, month, date).unwrap()
}

/// The good series with its lines (from 1) changed.
fn changed(change: impl FnOnce(&mut Vec<String>)) -> Vec<u8> {
    let mut lines = good_lines();
    change(&mut lines);
    (lines.join("\n") + "\n").into_bytes()
}

/// The good series with each row rewritten from its fields.
fn rewritten(header: &str, row: impl Fn(&[&str]) -> String) -> Vec<u8> {
    changed(|lines| {
        lines.iter_mut().skip(1).for_each(|line| *line = row(&line.split(',').collect::<Vec<_>>()));
        lines[0] = header.to_owned();
    })
}

fn with_field(line: &str, at: usize, value: &str) -> String {
    let mut fields: Vec<&str> = line.split(',').collect();
    fields[at] = value;
    fields.join(",")
}

/// A series around a 4:1 split on its 33rd day, raw before it, with a dividend of 0.82 on the 18th.
fn unadjusted_split() -> Vec<u8> {
    let sessions = day(2020, 7, 15).iter_days().filter(|d| calendar::is_session(*d)).take(66);
    let mut text = format!("{HEADER}\n");
    for (i, session) in sessions.enumerate() {
        let close = if i < 33 { 400.0 + i as f64 } else { 110.0 + i as f64 / 10.0 };
        let factor = 0.98 * if i < 17 { 1.0 - 0.82 / 416.0 } else { 1.0 } * if i < 33 { 0.25 } else { 1.0 };
        text += &format!("{session},{close:.6},{close:.6},{close:.6},{close:.6},{:.6},38299500\n", close * factor);
    }
    text.into_bytes()
}

fn thousands(text: &str) -> String {
    let ten_times = text.parse::<f64>().unwrap() * 10.0;
    let cents = (ten_times * 100.0).round() as u64;
    let (whole, rest) = (cents / 100, cents % 100);
    let grouped = if whole >= 1000 { format!("{},{:03}", whole / 1000, whole % 1000) } else { whole.to_string() };
    format!("\"${grouped}.{rest:02}\"")
}

fn three_lines() -> Vec<u8> {
    let body = rewritten("", |f| [f[0], f[4], f[2], f[3], f[1], f[6]].join(","));
    let head = "Price,Close,High,Low,Open,Volume\nTicker,BABA,BABA,BABA,BABA,BABA\nDate,,,,,";
    [head.as_bytes(), &body].concat()
}

/// A file: its name, how to make it, and the decision.
type Case = (&'static str, Vec<u8>, Decision);

/// All files, in the order of their names.
fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> =
        [bad_rows(), bad_order_and_time(), bad_text(), other_notations()].into_iter().flatten().collect();
    cases.sort_by_key(|case| case.0);
    cases
}

fn bad_rows() -> Vec<Case> {
    let null_rows = |l: &mut Vec<String>| {
        l[11] = "2022-03-15,null,null,null,null,null,null".into();
        l[41] = "2022-04-27,,,,,,".into();
        l[51] = "2022-05-11,NaN,NaN,NaN,NaN,NaN,0".into();
    };
    let null_warnings = &[":12: 2022-03-15 has no close", ":42: 2022-04-27", ":52: 2022-05-11"];
    let stale = |l: &mut Vec<String>| {
        (21..27).for_each(|i| l[i] = with_field(&format!("{}{}", &l[i][..10], &l[20][10..]), 6, "0"))
    };
    let stale_warnings = &[
        ": the symbol is taken from the file name without its number",
        ":22: 6 rows to 2022-04-05 repeat the prices before them",
    ];
    let repeated = Refuse(":22: 2022-03-28 appears again with other values than on line 21");
    let split_warning = &[":35: 2020-08-31: the close is not adjusted for a split of 4 for 1"];
    vec![
        ("02_duplicate_date.csv", changed(|l| l.insert(21, with_field(&l[20], 4, "101.25"))), repeated),
        (
            "03_negative_price.csv",
            changed(|l| l[31] = with_field(&l[31], 3, "-1.000000")),
            Refuse(":32 (Low): low must be above zero, not -1"),
        ),
        ("04_null_rows.csv", changed(null_rows), Accept(61, null_warnings)),
        (
            "05_high_below_low.csv",
            changed(|l| l[26] = with_field(&with_field(&l[26], 2, "80"), 3, "120")),
            Refuse(":27 (High): high "),
        ),
        ("10_unadjusted_split_AAPL.csv", unadjusted_split(), Accept(66, split_warning)),
        ("20_stale_flat_zero_volume.csv", changed(stale), Accept(64, stale_warnings)),
    ]
}

fn bad_order_and_time() -> Vec<Case> {
    let newest_first = || Accept(64, &[":3: the rows are newest first; sorted"]);
    let us = |f: &[&str]| format!("{}/{}/{},{}", &f[0][5..7], &f[0][8..], &f[0][..4], f[1..].join(","));
    let us_days = |l: &mut Vec<String>| {
        l.iter_mut().skip(1).for_each(|line| *line = us(&line.split(',').collect::<Vec<_>>()));
        l[1..].reverse();
    };
    let unordered = Accept(64, &[":8: the rows are not in order of days; sorted"]);
    let future = Refuse(":66 (Date): 2099-01-04 lies in the future");
    let gap = Accept(44, &[":14: 20 sessions are missing between 2022-03-16 and 2022-04-14"]);
    vec![
        ("06_dates_newest_first.csv", changed(|l| l[1..].reverse()), newest_first()),
        ("07_dates_shuffled.csv", changed(|l| l.swap(6, 34)), unordered),
        ("15_future_date.csv", changed(|l| l.push(with_field(&l[64], 0, "2099-01-04"))), future),
        ("17_us_date_format.csv", changed(us_days), newest_first()),
        ("21_month_gap.csv", changed(|l| drop(l.drain(13..33))), gap),
    ]
}

fn bad_text() -> Vec<Case> {
    let mut not_utf8 = changed(|lines| lines.insert(16, "# Quelle: B?rse".into()));
    not_utf8.iter_mut().filter(|b| **b == b'?').for_each(|b| *b = 0xF6);
    // Cut within the fourth field of the last row.
    let mut cut = changed(|l| l[64] = l[64].split(',').take(3).collect::<Vec<_>>().join(",") + ",9");
    cut.pop();
    let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 73400320\n".to_vec();
    let huge = changed(|l| l[11] = with_field(&l[11], 1, &"7".repeat(700_000)));
    let cut_off =
        Refuse(":65: the row has 4 fields where the header has 7, and no newline follows: the file is cut off");
    vec![
        ("08_non_utf8.csv", not_utf8, Refuse(":17: byte 12 of the line is not UTF-8")),
        ("11_huge_line.csv", huge, Refuse(":12: the line is longer than 256 KiB")),
        ("12_lfs_pointer.csv", pointer, Refuse(":1: this is a Git LFS pointer, not the data; run `git lfs pull`")),
        ("13_empty.csv", Vec::new(), Refuse(": the file is empty")),
        ("14_header_only.csv", changed(|l| l.truncate(1)), Refuse(": the file has a header but no rows")),
        ("19_truncated_last_line.csv", cut, cut_off),
    ]
}

fn other_notations() -> Vec<Case> {
    let mut with_bom = b"\xEF\xBB\xBF".to_vec();
    with_bom.extend(changed(|_| {}).iter().flat_map(|b| if *b == b'\n' { vec![b'\r', b'\n'] } else { vec![*b] }));
    let grouped = |f: &[&str]| {
        let prices: Vec<String> = f[1..6].iter().map(|price| thousands(price)).collect();
        format!("{},{},\"21,218,500\"", f[0], prices.join(","))
    };
    let put_right = Accept(64, &[":2: 384 numbers with currency signs or thousands separators were put right"]);
    let no_volume = Accept(64, &[":1: there is no column \"Volume\""]);
    let other_name = Accept(64, &[":2: the header says BABA, the file name does not"]);
    vec![
        ("01_missing_volume_column.csv", rewritten(&HEADER[..34], |f| f[..6].join(",")), no_volume),
        ("09_bom_crlf.csv", with_bom, Accept(64, &[])),
        ("16_thousands_separators.csv", rewritten(HEADER, grouped), put_right),
        ("18_yfinance_multiindex_header.csv", three_lines(), other_name),
    ]
}

fn check(
    name: &str,
    result: Result<Accepted, crate::ingest::finding::Refusal>,
    decision: &Decision,
) -> Option<PriceSeries> {
    match (result, decision) {
        (Ok(accepted), Accept(bars, warnings)) => {
            let found = accepted.warnings.in_file(name);
            assert_eq!(accepted.warnings.total(), warnings.len(), "{name}: {found}");
            for (line, expected) in found.lines().zip(*warnings) {
                assert!(line.starts_with(&format!("{name}{expected}")), "{line}, expected {expected}");
            }
            let Parsed::Prices(mut series) = accepted.parsed else { panic!("{name}: no prices") };
            assert_eq!((series.len(), series[0].bars.len()), (1, *bars), "{name}");
            assert!(series[0].bars.is_sorted_by(|a, b| a.day() < b.day()));
            series.pop()
        }
        (Err(refusal), Refuse(expected)) => {
            let text = refusal.to_string();
            assert!(
                text.lines().any(|line| line.starts_with(&format!("{name}{expected}"))),
                "{text}, expected {expected}"
            );
            None
        }
        (result, _) => panic!("{name}: {result:?}"),
    }
}

#[test]
fn each_kind_of_bad_file_is_decided_as_a_careful_user_would() {
    assert_eq!(cases().len(), 21);
    for (name, bytes, decision) in cases() {
        check(name, parse_from(name, bytes.as_slice(), day(2024, 9, 30)), &decision);
    }
}

#[test]
fn the_real_examples_are_decided_alike() {
    let Some(folder) = std::env::var_os("FORECASTD_TEST_DATA") else {
        println!("FORECASTD_TEST_DATA is not set: only the simulated bad files were checked");
        return;
    };
    for (name, _, decision) in cases() {
        check(name, parse(&Path::new(&folder).join("dirty").join(name), day(2024, 9, 30)), &decision);
    }
}

#[test]
fn what_is_put_right_has_the_right_values() {
    let series = |at: usize| {
        let (name, bytes, decision) = cases().swap_remove(at - 1);
        check(name, parse_from(name, bytes.as_slice(), day(2024, 9, 30)), &decision).unwrap()
    };
    let good = series(9);
    assert_eq!(good.symbol.as_str(), "09_BOM_CRLF");
    for at in [6, 7, 17] {
        assert_eq!(series(at).bars, good.bars, "{at}");
    }
    assert_eq!(series(18).symbol.as_str(), "BABA");
    assert_eq!(series(18).bars, good.bars);
    assert_eq!(series(16).bars[0].close(), 1000.0);
    assert_eq!(series(16).bars[0].fields().volume, Some(21_218_500.0));
    assert_eq!(series(1).bars[0].fields().volume, None);
    let expected = [
        Action { day: day(2020, 8, 7), split: 1.0, dividend: 0.82 },
        Action { day: day(2020, 8, 31), split: 4.0, dividend: 0.0 },
    ];
    assert_eq!(series(10).actions, expected);
}

#[test]
fn identical_repetitions_and_a_missing_last_newline_are_fine() {
    let bytes = changed(|l| l.push(l[64].clone()));
    let accepted = parse_from("A.csv", &bytes[..bytes.len() - 1], day(2024, 9, 30)).unwrap();
    assert_eq!(accepted.warnings.in_file("A.csv"), "A.csv:66: 2022-05-31 repeats line 65; one of them is used");
    assert_eq!(accepted.rows, 65);
}
