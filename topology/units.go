package topology

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// A Duration is a length of time as EMQX writes it: "15s", "1h30m", "1.5s",
// "infinity", or a number of milliseconds. Text is what was written, and what
// is shown again.
type Duration struct {
	Value time.Duration // Infinity for "infinity"
	Text  string
}

// Infinity is the value of the duration "infinity".
const Infinity = time.Duration(math.MaxInt64)

// maxTimeout is EMQX's bound of a time-out: 32 bits of milliseconds.
const maxTimeout = time.Duration(math.MaxUint32) * time.Millisecond

// IsZero reports whether d was never set.
func (d Duration) IsZero() bool { return d == Duration{} }

// MarshalJSON gives the text as written, or a number of milliseconds.
func (d Duration) MarshalJSON() ([]byte, error) {
	switch {
	case d.Text != "":
		return json.Marshal(d.Text)
	case d.Value == Infinity:
		return json.Marshal("infinity")
	}
	return json.Marshal(d.Value.Milliseconds())
}

// UnmarshalJSON reads a number of milliseconds or EMQX's text form.
func (d *Duration) UnmarshalJSON(b []byte) error {
	if len(b) == 0 || b[0] != '"' {
		ms, err := strconv.ParseInt(string(b), 10, 64)
		if err != nil || ms < 0 || ms > math.MaxUint32 {
			return fmt.Errorf("duration %.40s is no number of milliseconds from 0 to %d", b, uint32(math.MaxUint32))
		}
		*d = Duration{Value: time.Duration(ms) * time.Millisecond}
		return nil
	}
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	var err error
	*d, err = ParseDuration(s)
	return err
}

// durationUnits has ms before m and s, so that it is tried first.
var durationUnits = []struct {
	name string
	unit time.Duration
}{
	{"ms", time.Millisecond}, {"s", time.Second}, {"m", time.Minute}, {"h", time.Hour},
	{"d", 24 * time.Hour}, {"w", 7 * 24 * time.Hour}, {"f", 14 * 24 * time.Hour},
}

// ParseDuration reads EMQX's text form: numbers with the units f w d h m s ms
// in any case, repeated, or "infinity".
func ParseDuration(s string) (Duration, error) {
	if strings.EqualFold(s, "infinity") {
		return Duration{Infinity, s}, nil
	}
	var total float64
	rest := strings.ToLower(strings.TrimSpace(s))
	for first := true; rest != "" || first; first = false {
		i := strings.IndexFunc(rest, func(r rune) bool { return (r < '0' || r > '9') && r != '.' })
		if i <= 0 {
			return Duration{}, fmt.Errorf("duration %q is not of a form such as 15s, 1h30m or infinity", s)
		}
		n, err := strconv.ParseFloat(rest[:i], 64)
		unit, name := unitAt(rest[i:])
		if err != nil || unit == 0 {
			return Duration{}, fmt.Errorf("duration %q is not of a form such as 15s, 1h30m or infinity", s)
		}
		total += n * float64(unit)
		rest = rest[i+len(name):]
	}
	if total > float64(maxTimeout) {
		return Duration{}, fmt.Errorf("duration %q is longer than %v", s, maxTimeout)
	}
	return Duration{time.Duration(total), s}, nil
}

func unitAt(s string) (time.Duration, string) {
	for _, u := range durationUnits {
		if strings.HasPrefix(s, u.name) {
			return u.unit, u.name
		}
	}
	return 0, ""
}

// A Size is a number of bytes as EMQX writes it: "256MB" (multiples of 1024),
// or a number. Text is what was written.
type Size struct {
	Bytes int64
	Text  string
}

// IsZero reports whether s was never set.
func (s Size) IsZero() bool { return s == Size{} }

// MarshalJSON gives the text as written, or the number of bytes.
func (s Size) MarshalJSON() ([]byte, error) {
	if s.Text != "" {
		return json.Marshal(s.Text)
	}
	return json.Marshal(s.Bytes)
}

// UnmarshalJSON reads a number of bytes or EMQX's text form.
func (s *Size) UnmarshalJSON(b []byte) error {
	text := string(b)
	quoted := len(b) > 0 && b[0] == '"'
	if quoted {
		if err := json.Unmarshal(b, &text); err != nil {
			return err
		}
	}
	v, err := ParseSize(text)
	if err != nil {
		return err
	}
	if !quoted {
		v.Text = ""
	}
	*s = v
	return nil
}

// ParseSize reads digits and one of the units b, kb, mb, gb, all in lower or
// all in upper case, or none for bytes.
func ParseSize(s string) (Size, error) {
	i := strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > '9' })
	if i < 0 {
		i = len(s)
	}
	shift, ok := map[string]uint{"": 0, "b": 0, "B": 0, "kb": 10, "KB": 10, "mb": 20, "MB": 20, "gb": 30, "GB": 30}[s[i:]]
	n, err := strconv.ParseInt(s[:i], 10, 64)
	if !ok || err != nil || n > math.MaxInt64>>shift {
		return Size{}, fmt.Errorf("size %q is not of a form such as 1048576, 512KB, 256MB or 1GB", s)
	}
	return Size{n << shift, s}, nil
}
