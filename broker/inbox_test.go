package broker

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// socketPair returns both ends of a connection over loopback.
func socketPair(t testing.TB) (here, there net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if there, err = net.Dial("tcp", ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if here, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { here.Close(); there.Close() })
	return here, there
}

// Whatever pieces bytes come in, and whatever pieces they are asked for in,
// they are the same; and an inbox with nothing in it holds no buffer.
func TestInboxPassesAllBytes(t *testing.T) {
	here, there := socketPair(t)
	var pool sync.Pool
	var in inbox
	in.open(here, &pool, func() {})
	rapid.Check(t, func(rt *rapid.T) {
		sent := rapid.SliceOfN(rapid.IntRange(1, 2*readChunk), 1, 8).Draw(rt, "sent")
		var want []byte
		for i, n := range sent {
			want = append(want, bytes.Repeat([]byte{byte('a' + i)}, n)...)
		}
		go func() {
			rest := want
			for _, n := range sent {
				there.Write(rest[:n])
				rest = rest[n:]
			}
		}()
		var got []byte
		for len(got) < len(want) {
			p := make([]byte, rapid.IntRange(1, 2*readChunk).Draw(rt, "asked"))
			n, err := in.read(p, here)
			if err != nil {
				rt.Fatal(err)
			}
			got = append(got, p[:n]...)
		}
		if !bytes.Equal(got, want) {
			rt.Fatalf("read other bytes than were written: %d, want %d", len(got), len(want))
		}
		if in.raw != nil && in.buf != nil {
			rt.Fatal("an empty inbox holds a buffer")
		}
	})
}

func TestInboxEnds(t *testing.T) {
	var pool sync.Pool
	for name, c := range map[string]struct {
		end  func(here, there net.Conn)
		want error
	}{
		"closed by the peer": {func(_, there net.Conn) { there.Close() }, io.EOF},
		"closed here":        {func(here, _ net.Conn) { here.Close() }, net.ErrClosed},
		"deadline":           {func(here, _ net.Conn) { here.SetReadDeadline(time.Unix(1, 0)) }, os.ErrDeadlineExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			here, there := socketPair(t)
			var in inbox
			in.open(here, &pool, func() {})
			go c.end(here, there)
			if n, err := in.read(make([]byte, 100), here); n != 0 || !errors.Is(err, c.want) {
				t.Errorf("got %d, %v; want %v", n, err, c.want)
			}
			if in.buf != nil {
				t.Error("it holds a buffer")
			}
		})
	}
}

func TestInboxDoesNotAllocate(t *testing.T) {
	here, there := socketPair(t)
	var pool sync.Pool
	var in inbox
	in.open(here, &pool, func() {})
	p, msg := make([]byte, 64), make([]byte, 64)
	if n := testing.AllocsPerRun(200, func() {
		there.Write(msg)
		for left := len(msg); left > 0; {
			n, err := in.read(p[:left], here)
			if err != nil {
				t.Fatal(err)
			}
			left -= n
		}
	}); n >= 1 { // a collection may empty the pool now and then
		t.Errorf("%v allocations for each read", n)
	}
}
