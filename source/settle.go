package source

import "time"

// A burst decides when a run of events is over: after a time of quiet, or when
// it has lasted too long to wait for one. git checkout writes a hundred files
// with gaps of up to 10 ms; the quiet is ten times that.
type burst struct {
	quiet, limit time.Duration
	first, last  time.Time // of the events; zero: none
}

func (b *burst) add(now time.Time) {
	if b.first.IsZero() {
		b.first = now
	}
	b.last = now
}

// due returns when to look, if there is anything to look for.
func (b *burst) due() (time.Time, bool) {
	quiet, limit := b.last.Add(b.quiet), b.first.Add(b.limit)
	if limit.Before(quiet) {
		return limit, !b.first.IsZero()
	}
	return quiet, !b.first.IsZero()
}

func (b *burst) clear() { b.first, b.last = time.Time{}, time.Time{} }
