package wire

import (
	"slices"

	"clink/internal/etf"
)

// An Aside is what one node of clink tells another beside a message. It stands
// in the record's Extra, which publishers have no way to write into, and which
// EMQX does not read; its keys and values are integers and binaries, so that
// any peer can decode it. It is for peers with [FeatureClink].
type Aside struct {
	// Copy says that the message is one that the sender retains, or with an
	// empty payload has removed, and was not published just now.
	Copy bool
	// Trace is the id of a probe, of at most MaxTrace bytes; nil: it is none.
	// The receiver does not deliver it unless Deliver says so, but reports.
	Trace   []byte
	Deliver bool
}

// MaxTrace is the length of the longest id of a probe.
const MaxTrace = 64

// The keys in Extra. EMQX's own are atoms.
const (
	keyCopy    = 25453
	keyTrace   = 25454
	keyDeliver = 25455
)

// append adds Extra.
func (a *Aside) append(dst []byte) []byte {
	if a == nil {
		return etf.AppendMap(dst, 0)
	}
	dst = etf.AppendMap(dst, count(a.Copy)+count(a.Trace != nil)+count(a.Deliver))
	if a.Copy {
		dst = etf.AppendInt(etf.AppendInt(dst, keyCopy), 1)
	}
	if a.Trace != nil {
		dst = etf.AppendBinary(etf.AppendInt(dst, keyTrace), a.Trace)
	}
	if a.Deliver {
		dst = etf.AppendInt(etf.AppendInt(dst, keyDeliver), 1)
	}
	return dst
}

// readAside reads what is known in Extra, nil if there is nothing.
func readAside(r etf.Reader) *Aside {
	n := r.Map()
	if n == 0 {
		return nil
	}
	a := new(Aside)
	for range n {
		if !r.AtInt() {
			r.Skip()
			r.Skip()
			continue
		}
		switch key := r.Int(); {
		case key == keyCopy && r.AtInt():
			a.Copy = r.Int() == 1
		case key == keyDeliver && r.AtInt():
			a.Deliver = r.Int() == 1
		case key == keyTrace && r.AtBinary():
			if id := r.Binary(); len(id) > 0 && len(id) <= MaxTrace {
				a.Trace = slices.Clone(id)
			}
		default:
			r.Skip()
		}
	}
	if r.Err() != nil || !a.Copy && a.Trace == nil {
		return nil
	}
	return a
}
