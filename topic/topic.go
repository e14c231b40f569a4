// Package topic treats MQTT topic filters as sets of topic names: which names
// a filter matches, whether one filter covers another, and what two filters
// have in common.
//
// Matching follows MQTT 5.0 §4.7. Intersection, coverage and reduction follow
// the Cluster Linking protocol, section 5, exactly, because both ends of a
// link must come to the same answer. The package knows nothing of links,
// subscriptions or delivery; a table that matches a name against many filters
// at once belongs to whoever holds the many.
package topic

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// MaxLength is the longest topic name or filter in bytes (MQTT 5.0 §1.5.4).
const MaxLength = 65535

// A Filter is a valid MQTT topic filter without a share or queue prefix, as
// [Parse] returns it. The zero value is no filter.
type Filter string

// Why a text is no topic filter or topic name. Errors of [Parse] and
// [ValidName] wrap one of these.
var (
	ErrEmpty     = errors.New("is empty")
	ErrTooLong   = errors.New("is longer than 65535 bytes")
	ErrUTF8      = errors.New("is not valid UTF-8")
	ErrNUL       = errors.New("contains the character U+0000")
	ErrMultiHash = errors.New("has # elsewhere than as the whole last level")
	ErrPlus      = errors.New("has + inside a level")
	ErrWildcard  = errors.New("contains a wildcard")
)

// Parse returns s as a Filter (MQTT 5.0 §4.7.1, §4.7.3). A text that begins
// with $share/ is parsed like any other: whether it may stand where it stands
// is for the caller to say (see [Filter.Reserved]).
func Parse(s string) (Filter, error) {
	if err := validText(s); err != nil {
		return "", fmt.Errorf("topic filter %s %w", quote(s), err)
	}
	rest, level, more := s, "", true
	for more {
		level, rest, more = strings.Cut(rest, "/")
		switch {
		case len(level) > 1 && strings.Contains(level, "#"), level == "#" && more:
			return "", fmt.Errorf("topic filter %s %w", quote(s), ErrMultiHash)
		case len(level) > 1 && strings.Contains(level, "+"):
			return "", fmt.Errorf("topic filter %s %w", quote(s), ErrPlus)
		}
	}
	return Filter(s), nil
}

// ValidName reports why name is no topic name to publish to, or nil
// (MQTT 5.0 §3.3.2.1, §4.7.3).
func ValidName(name string) error {
	if err := validText(name); err != nil {
		return fmt.Errorf("topic name %s %w", quote(name), err)
	}
	if strings.ContainsAny(name, "+#") {
		return fmt.Errorf("topic name %s %w", quote(name), ErrWildcard)
	}
	return nil
}

func validText(s string) error {
	switch {
	case s == "":
		return ErrEmpty
	case len(s) > MaxLength:
		return ErrTooLong
	case !utf8.ValidString(s):
		return ErrUTF8
	case strings.IndexByte(s, 0) >= 0:
		return ErrNUL
	}
	return nil
}

// quote shortens what an error repeats, so that a hostile text of 64 KiB does
// not fill a log line.
func quote(s string) string {
	const most = 80
	if len(s) > most {
		return fmt.Sprintf("%q…", s[:most])
	}
	return fmt.Sprintf("%q", s)
}

// Match reports whether the topic name is in the set f. A wildcard at the
// first level does not match a name that begins with $ (MQTT 5.0 §4.7.2).
func (f Filter) Match(name string) bool {
	if name != "" && name[0] == '$' && f != "" && (f[0] == '+' || f[0] == '#') {
		return false
	}
	frest, nrest := string(f), name
	for {
		flevel, fnext, fmore := strings.Cut(frest, "/")
		if flevel == "#" {
			return true
		}
		nlevel, nnext, nmore := strings.Cut(nrest, "/")
		if flevel != "+" && flevel != nlevel {
			return false
		}
		switch {
		case !fmore && !nmore:
			return true
		case !nmore:
			return fnext == "#" // a/# matches its parent a
		case !fmore:
			return false
		}
		frest, nrest = fnext, nnext
	}
}

// Reserved returns the prefix of f that gives its topics another meaning than
// their text ($LINK/, $share/, $queue/, $exclusive/ or $delayed/), or "".
// Such filters never mean anything in a link's topics.
func (f Filter) Reserved() string {
	for _, p := range [...]string{"$LINK/", "$share/", "$queue/", "$exclusive/", "$delayed/"} {
		if strings.HasPrefix(string(f), p) || string(f)+"/" == p {
			return p
		}
	}
	return ""
}
