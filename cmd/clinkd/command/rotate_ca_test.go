package command_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"path/filepath"
	"testing"
)

// A new authority of a listener's clients is in force as soon as its file
// changes; the client that an old one vouched for stays, and comes in no more.
func TestRotatedClientAuthority(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	own := issue(t, dir, "ca", "authority", nil)
	issue(t, dir, "a-listener", "a", own)
	issue(t, dir, "old", "pump-1", issue(t, dir, "clients", "clients' authority", nil))
	port := freePort(t)
	replaceFile(t, filepath.Join(dir, "sites.cue"), fmt.Appendf(nil, `package topology
sites: a: listeners: mqtts: {
	bind: "127.0.0.1:%s", peer_cert_as_username: "cn"
	ssl: {certfile: "a-listener.pem", keyfile: "a-listener.key", cacertfile: "clients.pem", verify: "verify_peer", fail_if_no_peer_cert: true}
}
`, port))
	start(t, dir, t.TempDir())
	caches := map[string]tls.ClientSessionCache{"old": tls.NewLRUClientSessionCache(1), "new": tls.NewLRUClientSessionCache(1)}
	enter := func(name string) (*tls.Conn, error) {
		pair, err := tls.LoadX509KeyPair(filepath.Join(dir, name+".pem"), filepath.Join(dir, name+".key"))
		if err != nil {
			t.Fatal(err)
		}
		c, err := tls.Dial("tcp", "127.0.0.1:"+port, &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{pair}, ClientSessionCache: caches[name]})
		if err != nil {
			return nil, err
		}
		t.Cleanup(func() { c.Close() })
		// CONNECT of MQTT 3.1.1 with a clean session, without name and password.
		return c, exchange(c, "\x10\x0e\x00\x04MQTT\x04\x02\x00\x00\x00\x02"+name[:2], "\x20\x02\x00\x00")
	}
	stays, err := enter("old")
	if err != nil {
		t.Fatal(err)
	}
	issue(t, dir, "new", "pump-2", issue(t, dir, "clients", "clients' authority", nil))
	until(t, "a client of the new authority to be let in", func() bool {
		c, err := enter("new")
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	if _, err := enter("old"); err == nil {
		t.Error("a client of the old authority is let in")
	}
	if err := exchange(stays, "\xc0\x00", "\xd0\x00"); err != nil {
		t.Errorf("the client that was there: %v", err)
	}
}

// exchange writes what and reads want.
func exchange(c io.ReadWriter, what, want string) error {
	if _, err := io.WriteString(c, what); err != nil {
		return err
	}
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c, got); err != nil {
		return err
	}
	if string(got) != want {
		return fmt.Errorf("answered %x, want %x", got, want)
	}
	return nil
}
