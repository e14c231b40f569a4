package diagram

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Which font a reader has is not known. These widths are those of the widest of
// the usual ones, so that a name never leaves its box.
const (
	fontSize  = 13 * px
	smallSize = 11 * px
)

// width is how wide text is at most, at a size.
func width(text string, size int) int {
	sum := 0
	for _, r := range text {
		sum += runeWidth(r)
	}
	return sum * size / 1000
}

// runeWidth is in thousandths of the font's size.
func runeWidth(r rune) int {
	switch {
	case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		return 0
	case strings.ContainsRune("ijl.,:;|'!", r):
		return 340
	case strings.ContainsRune("ftr-/()[]{} \"*", r):
		return 420
	case strings.ContainsRune("mwMWQO@%", r):
		return 1000
	case r >= 'A' && r <= 'Z':
		return 750
	case r < 0x2e80:
		return 640
	}
	return 1050 // East Asian characters, emoji
}

// shorten cuts text in the middle until it is no wider than most: sites of a
// fleet begin alike, and differ at the end.
func shorten(text string, size, most int) string {
	if width(text, size) <= most {
		return text
	}
	rs := []rune(text)
	head, tail, sum := 0, 0, width("…", size)
	for head+tail < len(rs) {
		r := rs[head]
		if head > tail {
			r = rs[len(rs)-1-tail]
		}
		if sum += runeWidth(r) * size / 1000; sum > most {
			break
		}
		if head > tail {
			tail++
		} else {
			head++
		}
	}
	return string(rs[:head]) + "…" + string(rs[len(rs)-tail:])
}

// clip keeps the first most characters of text.
func clip(text string, most int) string {
	if utf8.RuneCountInString(text) <= most {
		return text
	}
	return string([]rune(text)[:most]) + "…"
}

// visible replaces what would not be seen, or would change how the text around
// it is read: control characters become their pictures, those that turn the
// direction of writing a mark.
func visible(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r < 0x20:
			return 0x2400 + r
		case r == 0x7f:
			return 0x2421
		case unicode.IsControl(r), r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069, r == 0x200e, r == 0x200f, r == 0x61c,
			r == 0x2028, r == 0x2029, r&0xfffe == 0xfffe, r == utf8.RuneError:
			return utf8.RuneError
		}
		return r
	}, strings.ToValidUTF8(text, "\ufffd"))
}
