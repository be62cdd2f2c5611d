//! The sheet that pictures are drawn on: its colours by day and by night, and what stands above the drawing.

/// As wide as a page of text shows it, in pixels.
pub(crate) const WIDTH: usize = 900;

const TEXT: &str =
    "text{font:13px system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif;fill:#1f2328}";
const DAY: &str =
    ".paper{fill:#fff}.title{font-size:18px;font-weight:600}.dim{fill:#59636e}.axis{stroke:#d1d9e0}";
const NIGHT: &str = "text{fill:#f0f6fc}.paper{fill:#0d1117}.dim{fill:#9198a1}.axis{stroke:#3d444d}";

/// What a picture has of its own.
pub(crate) struct Sheet<'a> {
    /// In pixels.
    pub(crate) height: usize,
    /// For those who can't see it.
    pub(crate) label: &'a str,
    /// Style rules, and those that replace them by night.
    pub(crate) styles: [&'a str; 2],
    /// Its first line; no markup.
    pub(crate) title: &'a str,
    /// Its second line; no markup.
    pub(crate) subtitle: &'a str,
}

impl Sheet<'_> {
    /// The picture around this drawing.
    pub(crate) fn around(&self, drawing: &str) -> String {
        let Self { height, label, styles: [day, night], title, subtitle } = self;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
             viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{label}\">\n\
             <style>{TEXT}{DAY}{day}@media (prefers-color-scheme:dark){{{NIGHT}{night}}}</style>\n\
             <rect class=\"paper\" width=\"{WIDTH}\" height=\"{height}\" rx=\"6\"/>\n\
             <text class=\"title\" x=\"20\" y=\"30\">{title}</text>\n\
             <text class=\"dim\" x=\"20\" y=\"51\">{subtitle}</text>\n\
             {drawing}</svg>\n"
        )
    }
}
