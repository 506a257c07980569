//! Tells code from comments and strings, as far as the rules need it.

/// The text with every comment, string and character literal blanked out. Lines and columns stay as they are.
pub(crate) fn code_only(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = literal_end(&chars, at);
        match end {
            Some(end) => {
                out.extend(chars[at..end].iter().map(|&c| if c == '\n' { '\n' } else { ' ' }));
                at = end;
            }
            None => {
                out.push(chars[at]);
                at += 1;
            }
        }
    }
    out
}

/// Where the comment or literal that begins at `at` ends, if one begins there.
fn literal_end(chars: &[char], at: usize) -> Option<usize> {
    let next = |i: usize| chars.get(at + i).copied().unwrap_or('\0');
    let inside_word = at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_');
    match chars[at] {
        '/' if next(1) == '/' => Some(until(chars, at, |i| chars[i] == '\n')),
        '/' if next(1) == '*' => Some(block_comment_end(chars, at)),
        '"' => Some(string_end(chars, at)),
        'r' | 'b' if !inside_word => {
            let hashes_at = if chars[at] == 'b' && next(1) == 'r' { 2 } else { 1 };
            let raw = chars[at] == 'r' || hashes_at == 2;
            let hashes = chars[at + hashes_at..].iter().take_while(|&&c| raw && c == '#').count();
            if next(hashes_at + hashes) != '"' {
                return None;
            }
            let open = at + hashes_at + hashes;
            Some(if raw { raw_end(chars, open, hashes) } else { string_end(chars, open) })
        }
        '\'' if next(1) == '\\' => Some(until(chars, at + 3, |i| chars[i] == '\'') + 1),
        '\'' if next(2) == '\'' => Some(at + 3),
        _ => None,
    }
}

fn until(chars: &[char], from: usize, stop: impl Fn(usize) -> bool) -> usize {
    (from..chars.len()).find(|&i| stop(i)).unwrap_or(chars.len())
}

fn string_end(chars: &[char], open: usize) -> usize {
    let mut i = open + 1;
    while i < chars.len() && chars[i] != '"' {
        i += if chars[i] == '\\' { 2 } else { 1 };
    }
    (i + 1).min(chars.len())
}

fn raw_end(chars: &[char], open: usize, hashes: usize) -> usize {
    let closes = |i: usize| {
        chars[i] == '"' && chars[i + 1..].iter().take(hashes).filter(|&&c| c == '#').count() == hashes
    };
    (until(chars, open + 1, closes) + 1 + hashes).min(chars.len())
}

fn block_comment_end(chars: &[char], at: usize) -> usize {
    let (mut i, mut depth) = (at, 0);
    while i < chars.len() {
        let pair = (chars[i], chars.get(i + 1).copied().unwrap_or('\0'));
        match pair {
            ('/', '*') => depth += 1,
            ('*', '/') => depth -= 1,
            _ => {
                i += 1;
                continue;
            }
        }
        i += 2;
        if depth == 0 {
            break;
        }
    }
    i.min(chars.len())
}

#[test]
fn comments_and_literals_are_blanked_and_code_is_not() {
    let check = |text: &str, want: &str| assert_eq!(code_only(text), want, "{text}");
    check("a // b\nc", "a     \nc");
    check("a /* b /* c */ d */ e", "a                   e");
    check(r#"f("x\"y", 'z', '\'', b"q")"#, r#"f(      ,    ,     ,     )"#);
    check("r#\"a\"b\"# + br\"c\"", "         +      ");
    check("fn f<'a>(x: &'a str)", "fn f<'a>(x: &'a str)");
    check("var\"", "var ");
}
