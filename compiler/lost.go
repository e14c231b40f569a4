package compiler

import (
	"bytes"
	"regexp"
)

// mentions reports whether the text holds the name, not as a part of a longer
// one.
func mentions(text []byte, name string) bool {
	if name == "" {
		return false
	}
	for from := 0; ; {
		i := bytes.Index(text[from:], []byte(name))
		if i < 0 {
			return false
		}
		i += from
		end := i + len(name)
		if !(i > 0 && isNameByte(text[i-1])) && !(end < len(text) && isNameByte(text[end])) {
			return true
		}
		from = i + 1
	}
}

func isNameByte(b byte) bool {
	return b == '-' || b == '_' || b == '.' || b >= '0' && b <= '9' || b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z'
}

// generates is a text that makes sites of names that do not stand in it.
var generates = regexp.MustCompile(`\bfor\s+\w+|sites\s*:\s*\{?\s*[(\[]`)

// mayDeclare reports whether a file that was left out may say something about
// the site, so that what is missing in the others proves nothing.
func (c *compilation) mayDeclare(site string) bool {
	if len(c.lost) == 0 {
		return false
	}
	declared := c.index.find("sites", site) != nil
	for name := range c.lost {
		text := c.src.texts[name]
		switch {
		case !declared && (mentions(text, site) || generates.Match(text)):
			return true
		case declared && declares(text, site):
			return true
		}
	}
	return false
}

func declares(text []byte, site string) bool {
	form := regexp.MustCompile(`\bsites\s*:\s*\{?\s*"?` + regexp.QuoteMeta(site) + `"?\s*:`)
	return form.Match(text)
}

// partial returns the sites that may be declared in part in a lost file.
func (c *compilation) partial() map[string]bool {
	m := map[string]bool{}
	if len(c.lost) == 0 {
		return m
	}
	sites := c.index.find("sites")
	if sites == nil {
		return m
	}
	sites.expand()
	for _, name := range sites.order {
		m[name] = c.mayDeclare(name)
	}
	return m
}
