//! Markdown to HTML that is safe to be shown as it is, whoever has written it.
//!
//! The renderer lets HTML through, as Markdown does; the sanitiser then keeps a list of elements and attributes that
//! are known to do nothing, and addresses of known schemes. So what is not known is gone, rather than what is known to
//! be bad.

use pulldown_cmark::{Options, Parser, html};

/// The HTML of a text.
pub(super) fn to_html(markdown: &str) -> String {
    let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH;
    let mut rendered = String::new();
    html::push_html(&mut rendered, Parser::new_ext(markdown, options));
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
    fn deep_nesting_is_no_way_to_exhaust_the_stack_or_the_time() {
        for unit in ["> ", "- ", "<div>", "[", "*a ", "`"] {
            let text = unit.repeat(100_000 / unit.len());
            // That it comes back is all.
            let _ = to_html(&text);
        }
    }
}
