package freeport

import (
	"net"
	"runtime"
	"slices"
	"strconv"
	"testing"
)

func TestPortsAreFreeAndNobodyElses(t *testing.T) {
	var ports []string
	for range 200 {
		port, give, err := Take()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { give.Close() })
		if n, err := strconv.Atoi(port); err != nil || n < first || n >= 32768 || slices.Contains(ports, port) {
			t.Fatalf("port %q after %q", port, ports)
		}
		ports = append(ports, port)
		ln, err := net.Listen("tcp", "127.0.0.1:"+port)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { ln.Close() })
	}
}

func TestReservationEnds(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("there is no reservation")
	}
	port, give, err := Take()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := reserve(port); err == nil {
		t.Error("a reserved port is reserved again")
	}
	if err := give.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := reserve(port)
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
}

func TestAddresses(t *testing.T) {
	addrs, err := Addresses(20)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(addrs)
	if n := len(slices.Compact(addrs)); n != 20 {
		t.Errorf("%d different addresses", n)
	}
}
