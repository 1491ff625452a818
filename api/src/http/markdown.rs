//! Markdown to HTML that is safe to be shown as it is, whoever has written it.
//!
//! The renderer lets HTML through, as Markdown does; the sanitiser then keeps a list of elements and attributes that
//! are known to do nothing, and addresses of known schemes. So what is not known is gone, rather than what is known to
//! be bad.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use lru::LruCache;
use pulldown_cmark::{Event, Options, Parser, html};

use super::problem::Problem;

/// How deep elements may be within each other. The sanitiser takes time by the square of it.
pub(super) const DEEPEST: usize = 32;
/// How many versions of pages are kept as HTML.
const KEPT: NonZeroUsize = NonZeroUsize::MIN.saturating_add(63);
/// Elements that have no end.
const VOID: [&str; 13] =
    ["area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"];
/// Elements within which tags are tags.
const PLAIN: &str = "a b blockquote code dd del details div dl dt em h1 h2 h3 h4 h5 h6 i ins kbd li ol p pre s small span \
    strong sub summary sup table tbody td th thead tr u ul";

fn parse(markdown: &str) -> Parser<'_> {
    Parser::new_ext(markdown, Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH)
}

/// The HTML of versions of pages, by slug and version: what a version says never changes.
#[derive(Debug)]
pub struct RenderedPages(Mutex<LruCache<(String, u64), Arc<str>>>);

impl Default for RenderedPages {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(KEPT)))
    }
}

impl RenderedPages {
    /// The HTML of a version, made where it may take its time.
    pub(super) async fn html(&self, slug: &str, version: u64, markdown: &str) -> Result<Arc<str>, Problem> {
        let name = (slug.to_owned(), version);
        if let Some(html) = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&name) {
            return Ok(html.clone());
        }
        let markdown = markdown.to_owned();
        let html = tokio::task::spawn_blocking(move || to_html(&markdown)).await;
        let html: Arc<str> = html.map_err(|_| Problem::internal())?.into();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).put(name, html.clone());
        Ok(html)
    }
}

/// Whether elements of this text are deeper within each other than [`DEEPEST`], counting those of its HTML that it
/// leaves open.
pub(super) fn is_too_deep(markdown: &str) -> bool {
    let (mut depth, mut open) = (0_usize, OpenTags::default());
    parse(markdown).any(|event| {
        match event {
            Event::Start(_) => depth += 1,
            Event::End(_) => depth = depth.saturating_sub(1),
            Event::Html(text) | Event::InlineHtml(text) => open.read(&text),
            Event::Text(_)
            | Event::Code(_)
            | Event::InlineMath(_)
            | Event::DisplayMath(_)
            | Event::FootnoteReference(_)
            | Event::SoftBreak
            | Event::HardBreak
            | Event::Rule
            | Event::TaskListMarker(_) => {}
        }
        depth + open.names.len() > DEEPEST
    })
}

/// The elements that HTML may have open: rather one too many than one too few, whatever a browser makes of it.
#[derive(Debug, Default)]
struct OpenTags {
    names: Vec<String>,
    /// Something was there within which a tag may be none, such as a comment: from then on nothing ends.
    doubtful: bool,
}

impl OpenTags {
    fn read(&mut self, text: &str) {
        for tag in text.split('<').skip(1) {
            let (inner, ends) = tag.split_once('>').map_or((tag, false), |(inner, _)| (inner, true));
            let (is_end, inner) = inner.strip_prefix('/').map_or((false, inner), |inner| (true, inner));
            let name = inner.split(|c: char| c.is_whitespace() || c == '/').next().unwrap_or_default();
            let name = name.to_ascii_lowercase();
            let quoted = ['"', '\'', '`'].iter().any(|quote| inner.matches(*quote).count() % 2 == 1);
            let is_void = VOID.contains(&&*name);
            let is_plain = PLAIN.split_ascii_whitespace().any(|plain| plain == name);
            self.doubtful |= !ends || quoted || !(is_void || is_plain);
            if is_end {
                if !self.doubtful && self.names.last() == Some(&name) {
                    self.names.pop();
                }
            } else if name.starts_with(|first: char| first.is_ascii_alphabetic()) && !is_void {
                self.names.push(name);
            }
        }
    }
}

/// The HTML of a text. What is too deep, which nobody can publish, is shown as it was written.
fn to_html(markdown: &str) -> String {
    if is_too_deep(markdown) {
        return format!("<pre>{}</pre>", ammonia::clean_text(markdown));
    }
    let mut rendered = String::new();
    html::push_html(&mut rendered, parse(markdown));
    let schemes = ["http", "https", "mailto", "tel"].into();
    ammonia::Builder::default()
        .url_schemes(schemes)
        .link_rel(Some("nofollow noopener noreferrer"))
        .clean(&rendered)
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_markdown_can_say_is_shown() {
        for (markdown, html) in [
            ("# Be *kind*", "<h1>Be <em>kind</em></h1>\n"),
            ("~~no~~ `<b>`", "<p><del>no</del> <code>&lt;b&gt;</code></p>\n"),
            ("a <b>bold</b> word", "<p>a <b>bold</b> word</p>\n"),
            ("1. one\n2. two", "<ol>\n<li>one</li>\n<li>two</li>\n</ol>\n"),
            (
                "[us](https://example.com/a?b=1&c)",
                "<p><a href=\"https://example.com/a?b=1&amp;c\" rel=\"nofollow noopener noreferrer\">us</a></p>\n",
            ),
            ("![a](/media/a.png \"t\")", "<p><img src=\"/media/a.png\" alt=\"a\" title=\"t\"></p>\n"),
            (
                "|a|\n|-|\n|b|",
                "<table><thead><tr><th>a</th></tr></thead><tbody>\n<tr><td>b</td></tr>\n</tbody></table>\n",
            ),
        ] {
            assert_eq!(to_html(markdown), html);
        }
    }

    /// Ways to bring a script into a page, as they are known from lists of such.
    const ATTEMPTS: [&str; 46] = [
        "<script>alert(1)</script>",
        "<SCRIPT SRC=https://evil.example/x.js></SCRIPT>",
        "<scr<script>ipt>alert(1)</scr</script>ipt>",
        "<script\n>alert(1)</script\n>",
        "<img src=x onerror=alert(1)>",
        "<img src=\"x\" OnErRoR=\"alert(1)\">",
        "<img/src=x/onerror=alert(1)>",
        "<img src=`javascript:alert(1)`>",
        "<img src=\"javascript:alert(1)\">",
        "<img srcset=\"javascript:alert(1) 1x\">",
        "<svg onload=alert(1)>",
        "<svg><script>alert(1)</script></svg>",
        "<svg><animate onbegin=alert(1) attributeName=x></svg>",
        "<svg><a xlink:href=\"javascript:alert(1)\"><text>x</text></a></svg>",
        "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)></style></mglyph></table></mtext></math>",
        "<math href=\"javascript:alert(1)\">x</math>",
        "<noscript><p title=\"</noscript><img src=x onerror=alert(1)>\">",
        "<template><img src=x onerror=alert(1)></template>",
        "<iframe src=\"javascript:alert(1)\"></iframe>",
        "<iframe srcdoc=\"<script>alert(1)</script>\"></iframe>",
        "<object data=\"javascript:alert(1)\"></object>",
        "<embed src=\"javascript:alert(1)\">",
        "<form action=\"javascript:alert(1)\"><input type=submit formaction=\"javascript:alert(1)\"></form>",
        "<button onclick=alert(1)>x</button>",
        "<body onload=alert(1)>",
        "<meta http-equiv=refresh content=\"0;url=javascript:alert(1)\">",
        "<base href=\"javascript:alert(1)//\">",
        "<link rel=stylesheet href=\"javascript:alert(1)\">",
        "<style>@import 'javascript:alert(1)';</style>",
        "<p style=\"background:url(javascript:alert(1))\">x</p>",
        "<a href=\"javascript:alert(1)\">x</a>",
        "<a href=\"JaVaScRiPt:alert(1)\">x</a>",
        "<a href=\"java\tscript:alert(1)\">x</a>",
        "<a href=\"&#106;avascript:alert(1)\">x</a>",
        "<a href=\" &#14; javascript:alert(1)\">x</a>",
        "<a href=\"vbscript:msgbox(1)\">x</a>",
        "<a href=\"data:text/html,<script>alert(1)</script>\">x</a>",
        "[x](javascript:alert(1))",
        "[x](JAVASCRIPT:alert(1))",
        "[x](<java&#x09;script:alert(1)>)",
        "[x](data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==)",
        "![x](javascript:alert(1))",
        "![x\" onerror=\"alert(1)](x)",
        "[x](https://example.com \"t\\\" onclick=alert(1)\")",
        "<javascript:alert(1)>",
        "[a]\n\n[a]: javascript:alert(1)",
    ];

    /// What could do something, found in HTML by another parser than the one that made it.
    fn dangers(html: &str) -> Vec<String> {
        let mut dangers = Vec::new();
        let mut rest = html;
        while let Some(at) = rest.find('<') {
            let tag = &rest[at + 1..];
            let end = end_of_tag(tag);
            dangers.extend(dangers_of(&tag[..end]));
            rest = &tag[end..];
        }
        dangers
    }

    /// The end of a tag is the first `>` that is in no quotes.
    fn end_of_tag(tag: &str) -> usize {
        let mut quote = None;
        for (at, letter) in tag.char_indices() {
            match (quote, letter) {
                (None, '>') => return at,
                (None, '"' | '\'') => quote = Some(letter),
                (Some(open), close) if open == close => quote = None,
                _ => {}
            }
        }
        tag.len()
    }

    fn dangers_of(tag: &str) -> Vec<String> {
        let harmful = [
            "audio", "base", "body", "button", "embed", "form", "frame", "iframe", "input", "link", "math", "meta",
            "noscript", "object", "script", "select", "style", "svg", "template", "textarea", "title", "video", "xmp",
        ];
        let name: String = tag
            .trim_start_matches('/')
            .chars()
            .take_while(char::is_ascii_alphanumeric)
            .collect::<String>()
            .to_lowercase();
        let mut dangers = Vec::new();
        if harmful.contains(&&*name) {
            dangers.push(format!("an element `{name}`"));
        }
        // Attributes, without what is between their quotes.
        let outside: String = tag.split('"').step_by(2).collect::<Vec<_>>().join("\"").to_lowercase();
        if outside.split_whitespace().skip(1).any(|word| word.starts_with("on") || word.starts_with("style")) {
            dangers.push(format!("a handler in `{tag}`"));
        }
        let schemes = ["javascript:", "vbscript:", "data:"];
        let values = tag.split('"').skip(1).step_by(2).map(|value| {
            value
                .chars()
                .filter(|letter| !letter.is_whitespace() && !letter.is_control())
                .collect::<String>()
                .to_lowercase()
        });
        for value in values.filter(|value| schemes.iter().any(|scheme| value.starts_with(scheme))) {
            dangers.push(format!("an address `{value}`"));
        }
        dangers
    }

    #[test]
    fn no_script_survives() {
        for attempt in ATTEMPTS {
            for markdown in [attempt.to_owned(), format!("> - {attempt}"), format!("text {attempt} text\n\n{attempt}")]
            {
                let html = to_html(&markdown);
                assert_eq!(dangers(&html), Vec::<String>::new(), "{markdown} became {html}");
            }
        }
    }

    #[test]
    fn what_looks_for_dangers_finds_them() {
        for attempt in ["<script>x</script>", "<img src=x onerror=y>", "<a href=\"javascript:x\">", "<p style=\"x\">"] {
            assert_ne!(dangers(attempt), Vec::<String>::new(), "{attempt}");
        }
    }

    #[test]
    fn deep_nesting_is_refused_and_is_no_way_to_exhaust_the_stack_or_the_time() {
        // Whatever the sanitiser would have to keep open is bounded.
        for unit in [
            "> ",
            "+ - ",
            "1. ",
            "<div>",
            "<i><p></i>",
            "<b><div></b>",
            "<p><b id=x>",
            "<div><!--</div>-->",
            "<div\n>",
            "<div title=\"</div>\">",
            "<div title='</div>'>",
            "<div><script></div></script>",
            "<DIV><x></div></x>",
        ] {
            let text = unit.repeat(100_000 / unit.len());
            assert!(is_too_deep(&text), "{unit}");
            assert!(to_html(&text).starts_with("<pre>"), "{unit}");
        }
        for unit in ["[", "*a ", "`", "- ", "a\n\n", "<br>", "<b>a</b> ", "<p>a</p>\n\n", "- a\n", "|a|\n|-|\n|b|\n\n"]
        {
            let text = unit.repeat(20_000 / unit.len());
            assert!(!is_too_deep(&text), "{unit}");
            let _ = to_html(&text);
        }
    }

    #[test]
    fn what_is_not_too_deep_is_shown() {
        let text = |depth: usize| format!("{}a", "> ".repeat(depth));
        assert_eq!(to_html(&text(DEEPEST - 1)).matches("<blockquote>").count(), DEEPEST - 1);
        assert!(is_too_deep(&text(DEEPEST)), "the paragraph is an element too");
    }

    #[tokio::test]
    async fn a_version_is_rendered_once() {
        let pages = RenderedPages::default();
        let first = pages.html("terms", 1, "*a*").await.unwrap();
        let again = pages.html("terms", 1, "never looked at").await.unwrap();
        assert!(Arc::ptr_eq(&first, &again));
        assert_eq!(&*pages.html("terms", 2, "*b*").await.unwrap(), "<p><em>b</em></p>\n");
        assert_eq!(&*pages.html("help", 1, "*c*").await.unwrap(), "<p><em>c</em></p>\n");
    }
}
