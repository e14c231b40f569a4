//go:build unix

package broker

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// plainDial connects an MQTT 3.1.1 client that keeps its session if asked.
func plainDial(b *testing.B, address, id string, keep bool) net.Conn {
	b.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		b.Fatal(err)
	}
	flags := byte(2)
	if keep {
		flags = 0
	}
	p := append([]byte{0x10, byte(12 + len(id)), 0, 4, 'M', 'Q', 'T', 'T', 4, flags, 0, 60, 0, byte(len(id))}, id...)
	if _, err := c.Write(p); err != nil {
		b.Fatal(err)
	}
	if _, err := io.ReadFull(c, make([]byte, 4)); err != nil {
		b.Fatal(err)
	}
	return c
}

const benchFrame = 2 + 2 + 3 + 2 + 64 // of a PUBLISH to a/b with 64 bytes

// sink acknowledges messages as they come, and counts them down.
func sink(c net.Conn, n int, done chan<- struct{}) {
	defer close(done)
	r := bufio.NewReaderSize(c, 64<<10)
	var acks []byte
	frame := make([]byte, benchFrame)
	for range n {
		if _, err := io.ReadFull(r, frame); err != nil {
			return
		}
		acks = append(acks, 0x40, 2, frame[7], frame[8])
		if r.Buffered() < benchFrame {
			if _, err := c.Write(acks); err != nil {
				return
			}
			acks = acks[:0]
		}
	}
	_, _ = c.Write(acks)
}

// pour publishes n messages with QoS 1, window at most unacknowledged.
func pour(c net.Conn, n, window int) error {
	r := bufio.NewReaderSize(c, 16<<10)
	var out []byte
	acked := 0
	ack := make([]byte, 4)
	for sent := 0; acked < n; {
		out = out[:0]
		for ; sent < n && sent-acked < window; sent++ {
			out = append(out, 0x32, benchFrame-2, 0, 3, 'a', '/', 'b')
			out = binary.BigEndian.AppendUint16(out, uint16(sent%60000+1))
			out = append(out, make([]byte, 64)...)
		}
		if _, err := c.Write(out); err != nil {
			return err
		}
		for first := true; first || r.Buffered() >= 4; first = false {
			if _, err := io.ReadFull(r, ack); err != nil {
				return err
			}
			acked++
		}
	}
	return nil
}

// BenchmarkStore is the throughput of QoS 1 to one persistent session, with and
// without a store, in turn.
func BenchmarkStore(b *testing.B) {
	for _, publishers := range []int{1, 4} {
		for round := range 3 {
			for _, with := range []string{"without", "with"} {
				b.Run(fmt.Sprintf("%dpublishers/%s/%d", publishers, with, round), func(b *testing.B) {
					o := Options{QueueLength: 1 << 16, MaxInflight: 60000}
					if with == "with" {
						o.Store = filepath.Join(b.TempDir(), "store")
					}
					benchStore(b, start(b, o, nil, anyone()), publishers)
				})
			}
		}
	}
}

func benchStore(b *testing.B, n *Node, publishers int) {
	s := plainDial(b, addr(b, n, "tcp"), "sub", true)
	defer s.Close()
	if _, err := s.Write([]byte{0x82, 8, 0, 1, 0, 3, 'a', '/', 'b', 1}); err != nil {
		b.Fatal(err)
	}
	if _, err := io.ReadFull(s, make([]byte, 5)); err != nil {
		b.Fatal(err)
	}
	each := b.N/publishers + 1
	done := make(chan struct{})
	errs := make(chan error, publishers)
	conns := make([]net.Conn, publishers)
	for i := range conns {
		conns[i] = plainDial(b, addr(b, n, "tcp"), fmt.Sprintf("p%d", i), false)
		defer conns[i].Close()
	}
	b.ResetTimer()
	began, used := time.Now(), cpu(b)
	go sink(s, each*publishers, done)
	for _, c := range conns {
		go func() { errs <- pour(c, each, 200) }()
	}
	for range conns {
		if err := <-errs; err != nil {
			b.Fatal(err)
		}
	}
	<-done
	b.ReportMetric(float64(each*publishers)/time.Since(began).Seconds(), "msg/s")
	b.ReportMetric(float64((cpu(b)-used).Nanoseconds())/float64(each*publishers), "cpu-ns/msg")
}

// cpu is the time that this process has had, load generator included. It says
// more than the clock on a machine that others use.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
