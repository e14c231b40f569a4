package client

import (
	"bytes"
	"fmt"
	"time"

	"clink/internal/sock"
)

// lastWords is how long after a write that failed the reader may still find out
// why: the peer says it before it hangs up, and that is worth more to an operator
// than a broken pipe.
const lastWords = 200 * time.Millisecond

// Write sends whole frames. An error has ended the connection.
func (c *Conn) Write(frames []byte) error { return c.WriteParts([][]byte{frames}) }

// WriteParts is Write for frames in parts, which it may change.
func (c *Conn) WriteParts(frames [][]byte) error {
	if c.writeAll(frames) == nil {
		return nil
	}
	<-c.done
	return c.Err()
}

// writeAll is WriteParts, but the connection may end only a moment after an error.
func (c *Conn) writeAll(frames [][]byte) error {
	c.write.Lock()
	defer c.write.Unlock()
	if err := c.unwritable(); err != nil {
		return err
	}
	c.limitWrite()
	for _, parts := range [...][][]byte{c.rest, frames} {
		if len(parts) == 0 {
			continue
		}
		if err := sock.WriteAll(c.net, parts); err != nil {
			return c.failed(err)
		}
	}
	c.rest = nil
	return nil
}

// unwritable is why nothing can be written any more. The caller holds write.
func (c *Conn) unwritable() error {
	if c.broken != nil {
		return c.broken
	}
	return c.Err()
}

// failed ends the connection because of a write, unless the reader does before
// the peer's last words are over. The caller holds write.
func (c *Conn) failed(err error) error {
	c.broken = fmt.Errorf("write: %w", plain(err))
	if broken := c.broken; c.closing.Load() {
		c.end(broken)
	} else {
		time.AfterFunc(lastWords, func() { c.end(broken) })
	}
	return c.broken
}

// limitWrite sets the deadline of a write.
func (c *Conn) limitWrite() {
	now := time.Now()
	switch {
	case c.closing.Load():
		c.net.SetWriteDeadline(now.Add(closeTimeout))
	case c.writeBy.Sub(now) < writeTimeout:
		c.writeBy = now.Add(writeTimeout + writeSlack)
		c.net.SetWriteDeadline(c.writeBy)
	}
}

// CanTry reports whether TryWrite can do anything.
func (c *Conn) CanTry() bool { return c.out.Ready() }

// TryWrite sends whole frames, in parts that it may change, as far as that needs
// no waiting. If nothing was sent, taken is false. If less than all was, whole is
// false, and the rest goes out with the next Write, which must come soon, but may
// be of no frames. An error ends the connection in a moment, see Done.
func (c *Conn) TryWrite(frames [][]byte) (taken, whole bool, err error) {
	if !c.out.Ready() || !c.write.TryLock() {
		return false, false, c.Err()
	}
	defer c.write.Unlock()
	if err := c.unwritable(); err != nil || len(c.rest) > 0 {
		return false, false, err
	}
	n, err := c.out.Write(frames)
	switch {
	case err != nil:
		return false, false, c.failed(err)
	case n == 0:
		return false, false, nil
	}
	for _, b := range sock.Rest(frames, n) {
		c.rest = append(c.rest, bytes.Clone(b))
	}
	return true, len(c.rest) == 0, nil
}
