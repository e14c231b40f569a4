package topology

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// A Rate is so much in so long, as EMQX writes it: "100/s", "6000/m",
// "10MB/s", "500/10s" (multiples of 1024). So much may also come at once. The
// zero value is no limit. Text is what was written.
type Rate struct {
	Count int64 // messages, connections or bytes
	Per   time.Duration
	Text  string
}

// IsZero reports whether r sets no limit.
func (r Rate) IsZero() bool { return r.Count == 0 }

// Same reports whether two rates are one, however they are written.
func (r Rate) Same(o Rate) bool { return r.Count == o.Count && r.Per == o.Per }

// Every is the time that one of what is counted takes; 0: no limit.
func (r Rate) Every() float64 {
	if r.Count == 0 {
		return 0
	}
	return r.Per.Seconds() / float64(r.Count)
}

// MarshalJSON gives the text as written.
func (r Rate) MarshalJSON() ([]byte, error) {
	switch {
	case r.Text != "":
		return json.Marshal(r.Text)
	case r.IsZero():
		return json.Marshal("infinity")
	}
	return json.Marshal(fmt.Sprintf("%d/%dms", r.Count, r.Per.Milliseconds()))
}

// UnmarshalJSON reads the text form.
func (r *Rate) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	var err error
	*r, err = ParseRate(s)
	return err
}

// maxPer bounds the time of a rate, within which what it allows may come at
// once.
const maxPer = 24 * time.Hour

// ParseRate reads a number of things or bytes, and after a stroke a time, with
// or without a number; or "infinity" for no limit.
func ParseRate(s string) (Rate, error) {
	if strings.EqualFold(s, "infinity") {
		return Rate{Text: s}, nil
	}
	bad := fmt.Errorf("rate %q is not of a form such as 100/s, 6000/m, 64KB/s or 10MB/s", s)
	much, long, ok := strings.Cut(s, "/")
	size, err := ParseSize(much)
	if !ok || err != nil {
		return Rate{}, bad
	}
	if long != "" && (long[0] < '0' || long[0] > '9') {
		long = "1" + long
	}
	per, err := ParseDuration(long)
	if err != nil {
		return Rate{}, bad
	}
	switch {
	case size.Bytes < 1 || size.Bytes > math.MaxInt32*1024:
		return Rate{}, fmt.Errorf("rate %q: the number must be from 1 to %s", s, strconv.Itoa(math.MaxInt32*1024))
	case per.Value < time.Millisecond || per.Value > maxPer:
		return Rate{}, fmt.Errorf("rate %q: the time must be from 1ms to 24h", s)
	}
	return Rate{size.Bytes, per.Value, s}, nil
}
