package sock_test

import (
	"bytes"
	"io"
	"net"
	"testing"

	"clink/internal/sock"
)

func pair(t *testing.T) (here, there net.Conn) {
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

// A writer takes what the socket has room for, and says how much that was.
func TestWriterStopsWhereTheSocketIsFull(t *testing.T) {
	here, there := pair(t)
	var w sock.Writer
	if !w.Open(here) {
		t.Skip("sockets cannot be written without waiting here")
	}
	var sent bytes.Buffer
	piece := bytes.Repeat([]byte("0123456789"), 1000)
	for full := false; !full; {
		parts := [][]byte{piece[:7], nil, piece, piece[:1]}
		n, err := w.Write(parts)
		if err != nil {
			t.Fatal(err)
		}
		all := bytes.Join([][]byte{piece[:7], piece, piece[:1]}, nil)
		sent.Write(all[:n])
		full = n < len(all)
		if rest := bytes.Join(sock.Rest(parts, n), nil); !bytes.Equal(rest, all[n:]) {
			t.Fatalf("%d bytes are left of %d after %d", len(rest), len(all), n)
		}
	}
	if n, err := w.Write([][]byte{piece}); n != 0 || err != nil {
		t.Errorf("a full socket took %d, %v", n, err)
	}
	go here.(*net.TCPConn).CloseWrite()
	if got, err := io.ReadAll(there); err != nil || !bytes.Equal(got, sent.Bytes()) {
		t.Errorf("%d bytes came of %d, %v", len(got), sent.Len(), err)
	}
	here.Close()
	if _, err := w.Write([][]byte{piece}); err == nil {
		t.Error("a closed socket can be written to")
	}
}

// What is no bare socket is left alone.
func TestOthersAreNotWritten(t *testing.T) {
	here, there := net.Pipe()
	defer here.Close()
	defer there.Close()
	var w sock.Writer
	if w.Open(here) || w.Ready() || sock.Raw(here) != nil {
		t.Error("a pipe is taken for a socket")
	}
	if n, err := w.Write([][]byte{{1}}); n != 0 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
}

// What does not fit the first buffer is read into the second, where the system
// can do that.
func TestReadBoth(t *testing.T) {
	here, there := pair(t)
	raw := sock.Raw(here)
	if raw == nil {
		t.Skip("sockets cannot be read without waiting here")
	}
	there.Write([]byte("0123456789"))
	there.Close()
	var got []byte
	for end := false; !end; {
		p, q := make([]byte, 4), make([]byte, 3)
		err := raw.Read(func(fd uintptr) bool {
			n, err := sock.ReadBoth(fd, p, q)
			if err == sock.ErrNotYet {
				return false
			}
			if end = n == 0; err != nil {
				t.Error(err)
				end = true
			}
			got = append(got, append(p[:min(n, 4):4], q...)[:max(n, 0)]...)
			return true
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if string(got) != "0123456789" {
		t.Errorf("got %q", got)
	}
}
