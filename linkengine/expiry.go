package linkengine

import (
	"math"
	"time"

	"clink/broker"
)

// lasting is the expiry interval, counted from m.Time, of a message that has so
// many milliseconds left: that is what the sender's clock says, on which ours
// need not agree, and the way here is short. It is rounded down, as long as
// anything is left.
func lasting(m *broker.Message, left int64, now time.Time) uint32 {
	if !m.HasExpiry {
		return 0
	}
	age := max(now.Sub(m.Time).Milliseconds(), 0)
	end := age + min(left, int64(m.Expiry)*1000)
	return uint32(min(max(end/1000, age/1000+1), math.MaxUint32))
}
