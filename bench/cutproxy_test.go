package main

import (
	"bufio"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"clink/internal/freeport"
)

// startEcho sends back, line by line, what it is sent.
func startEcho(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				io.Copy(c, c)
				c.Close()
			}()
		}
	}()
	t.Cleanup(func() {
		ln.Close()
		<-done
	})
	return ln.Addr().String()
}

// echoes fails unless a line comes back.
func echoes(t *testing.T, c net.Conn) {
	t.Helper()
	c.SetDeadline(time.Now().Add(time.Minute))
	if _, err := io.WriteString(c, "hello\n"); err != nil {
		t.Fatal(err)
	}
	if got, err := bufio.NewReader(c).ReadString('\n'); got != "hello\n" {
		t.Fatalf("got %q, %v", got, err)
	}
}

func TestCutProxy(t *testing.T) {
	x, err := newCutProxy(startEcho(t))
	if err != nil {
		t.Fatal(err)
	}
	defer x.close()
	dial := func() (net.Conn, error) { return net.Dial("tcp", x.addr) }
	for range 3 {
		c, err := dial()
		if err != nil {
			t.Fatal(err)
		}
		echoes(t, c)
		x.cut()
		x.cut() // changes nothing
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("a connection that was cut: %v", err)
		}
		c.Close()
		if c, err := dial(); err == nil {
			c.Close()
			t.Error("a connection was taken during a cut")
		}
		if err := x.restore(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := x.restore(t.Context()); err != nil { // changes nothing
			t.Fatal(err)
		}
		if at := x.firstSince(); !at.IsZero() {
			t.Errorf("a connection came at %v, before there was any", at)
		}
		before := time.Now()
		if c, err = dial(); err != nil {
			t.Fatal(err)
		}
		echoes(t, c)
		if at := x.firstSince(); at.Before(before) || at.After(time.Now()) {
			t.Errorf("the first connection came at %v, not after %v", at, before)
		}
		c.Close()
	}
}

func TestCutProxyWithoutTarget(t *testing.T) {
	addrs, err := freeport.Addresses(1)
	if err != nil {
		t.Fatal(err)
	}
	x, err := newCutProxy(addrs[0])
	if err != nil {
		t.Fatal(err)
	}
	defer x.close()
	c, err := net.Dial("tcp", x.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Minute))
	if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, syscall.ETIMEDOUT) {
		t.Errorf("a connection to nowhere: %v", err)
	}
}
