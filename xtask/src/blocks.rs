//! Replaces the generated parts of a page: the text between `<!-- NAME: begin -->` and `<!-- NAME: end -->`.

use std::fs;
use std::path::Path;

use anyhow::Context;

/// Returns the text with the block of this name replaced by `block`, which has to end in a line break.
pub(crate) fn replace(text: &str, name: &str, block: &str) -> anyhow::Result<String> {
    let (begin, end) = (
        format!("<!-- {name}: begin -->"),
        format!("<!-- {name}: end -->"),
    );
    let missing = || format!("no markers for `{name}`");
    let (before, rest) = text.split_once(&begin).with_context(missing)?;
    let (_, after) = rest.split_once(&end).with_context(missing)?;
    Ok(format!("{before}{begin}\n{block}{end}{after}"))
}

/// Prints a block of `bench/README.md`, and writes it there.
pub(crate) fn write_measured(name: &str, block: &str) -> anyhow::Result<()> {
    println!("{block}");
    let page: &Path = &crate::root().join("bench/README.md");
    let text = fs::read_to_string(page).context("bench/README.md")?;
    let text = replace(&text, name, block).context("bench/README.md")?;
    Ok(fs::write(page, text)?)
}

#[cfg(test)]
mod tests {
    use super::replace;

    #[test]
    fn a_block_is_replaced_and_the_rest_of_the_page_stays() {
        let page = "a\n<!-- sizes: begin -->\nold\n<!-- sizes: end -->\nb\n";
        let expected = "a\n<!-- sizes: begin -->\nnew\n<!-- sizes: end -->\nb\n";
        assert_eq!(replace(page, "sizes", "new\n").expect("markers"), expected);
        let error = replace(page, "times", "new\n").expect_err("no markers");
        assert_eq!(error.to_string(), "no markers for `times`");
    }

    #[test]
    fn the_benchmark_page_has_the_markers_of_all_measurements() {
        let page = include_str!("../../bench/README.md");
        for name in [
            crate::bench::RESULTS,
            crate::bench::TWO_THREADS,
            crate::bench::GROWTH,
            crate::bench::IDLE_CONNECTIONS,
            crate::bench::PAGE,
            crate::bench::PROFILES,
            crate::bench::FIRST,
            crate::footprint::FOOTPRINT,
        ] {
            replace(page, name, "").expect(name);
        }
    }
}
