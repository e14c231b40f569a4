package client

import (
	"bytes"
	"fmt"
	"net"
	"time"

	"clink/internal/sock"
)

// Write sends whole frames. An error has ended the connection.
func (c *Conn) Write(frames []byte) error { return c.WriteParts([][]byte{frames}) }

// WriteParts is Write for frames in parts, which it may change.
func (c *Conn) WriteParts(frames [][]byte) error {
	c.write.Lock()
	defer c.write.Unlock()
	if err := c.Err(); err != nil {
		return err
	}
	c.limitWrite()
	for _, parts := range [...]net.Buffers{c.rest, frames} {
		if len(parts) == 0 {
			continue
		}
		if _, err := parts.WriteTo(c.net); err != nil {
			c.end(fmt.Errorf("write: %w", plain(err)))
			return c.Err()
		}
	}
	c.rest = nil
	return nil
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

// TryWrite sends whole frames, in parts that it may change, as far as that needs no waiting. If nothing was
// sent, taken is false. If less than all was, whole is false, and the rest goes
// out with the next Write, which must come soon, but may be of no frames. An
// error has ended the connection.
func (c *Conn) TryWrite(frames [][]byte) (taken, whole bool, err error) {
	if !c.out.Ready() || !c.write.TryLock() {
		return false, false, c.Err()
	}
	defer c.write.Unlock()
	if err := c.Err(); err != nil || len(c.rest) > 0 {
		return false, false, err
	}
	n, err := c.out.Write(frames)
	switch {
	case err != nil:
		c.end(fmt.Errorf("write: %w", plain(err)))
		return false, false, c.Err()
	case n == 0:
		return false, false, nil
	}
	for _, b := range sock.Rest(frames, n) {
		c.rest = append(c.rest, bytes.Clone(b))
	}
	return true, len(c.rest) == 0, nil
}
