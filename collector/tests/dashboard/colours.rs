//! The colours of the style sheet, recomputed: text against every surface of its theme.

/// `--name: light-dark(#light, #dark)` of the style sheet.
fn tokens() -> Vec<(String, [u32; 2])> {
    let css = include_str!("../../assets/style.css");
    let token = |part: &str| {
        let (name, rest) = part.split_once(":light-dark(#")?;
        let (light, rest) = rest.split_once(",#")?;
        let (dark, _) = rest.split_once(')')?;
        let hex = |text: &str| u32::from_str_radix(text, 16).ok();
        Some((name.to_owned(), [hex(light)?, hex(dark)?]))
    };
    css.split("--").filter_map(token).collect()
}

fn luminance(colour: u32) -> f64 {
    let channel = |shift: u32| {
        let value = f64::from((colour >> shift) & 0xff) / 255.0;
        if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
    };
    0.2126 * channel(16) + 0.7152 * channel(8) + 0.0722 * channel(0)
}

fn contrast(a: u32, b: u32) -> f64 {
    let (a, b) = (luminance(a), luminance(b));
    (a.max(b) + 0.05) / (a.min(b) + 0.05)
}

#[test]
fn every_text_colour_reads_on_every_surface() {
    let tokens = tokens();
    assert_eq!(tokens.len(), 22, "{tokens:?}");
    let surfaces = ["bg", "raised", "sunk", "sel"];
    for (name, colours) in tokens.iter().filter(|(name, _)| !surfaces.contains(&name.as_str()) && name != "hair") {
        let least = if name == "edge" { 3.0 } else { 4.5 };
        for (theme, colour) in colours.iter().enumerate() {
            for (surface, backs) in tokens.iter().filter(|(name, _)| surfaces.contains(&name.as_str())) {
                let ratio = contrast(*colour, backs[theme]);
                assert!(ratio >= least, "--{name} on --{surface} in theme {theme}: {ratio:.1}");
            }
        }
    }
}
