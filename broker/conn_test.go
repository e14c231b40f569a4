package broker

import (
	"bytes"
	"errors"
	"io"
	"net"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

// Connections share their large buffers, one after the other: each peer must
// still get its own bytes, all of them in order, and an idle connection must
// hold no large buffer.
func TestConnectionsShareBuffers(t *testing.T) {
	var shared sync.Pool
	rapid.Check(t, func(t *rapid.T) {
		var running sync.WaitGroup
		faults := make(chan error, 8)
		sizes := rapid.SliceOfN(rapid.IntRange(1, 3*smallBuffer), 1, 20)
		for i := range 4 {
			here, there := net.Pipe()
			k := newConn(here, &shared, running.Go, func() {})
			fill, writes := byte('a'+i), sizes.Draw(t, "sizes")
			var want []byte
			for _, n := range writes {
				want = append(want, bytes.Repeat([]byte{fill}, n)...)
			}
			running.Go(func() { faults <- readAll(there, want) })
			running.Go(func() { faults <- writeAll(k, fill, writes) })
			defer there.Close()
			defer k.abort()
		}
		for range cap(faults) {
			if err := <-faults; err != nil {
				t.Error(err)
			}
		}
	})
}

func readAll(c net.Conn, want []byte) error {
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c, got); err != nil {
		return err
	}
	if !bytes.Equal(got, want) {
		return errors.New("the peer read other bytes than were written")
	}
	return nil
}

// writeAll returns when everything has been handed on.
func writeAll(k *conn, fill byte, sizes []int) error {
	for _, n := range sizes {
		k.reserve()
		if _, err := k.Write(bytes.Repeat([]byte{fill}, n)); err != nil {
			return err
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for k.flushing {
		k.room.Wait()
	}
	if cap(k.buf) > smallBuffer || cap(k.spare) > smallBuffer {
		return errors.New("an idle connection holds a large buffer")
	}
	return nil
}
