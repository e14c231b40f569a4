package command_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"maps"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"
)

// since says since when each of the links of the sites has been online, and
// how often its connections were lost.
func (d *daemon) since(sites ...string) map[string]string {
	d.t.Helper()
	all := map[string]string{}
	_, metrics := d.text("/metrics")
	for _, site := range sites {
		var links []link
		until(d.t, "the links of "+site, func() bool {
			links = nil
			d.get("/sites/"+site+"/cluster/links", &links)
			return !slices.ContainsFunc(links, func(l link) bool {
				return l.Replication.State != "online" || l.Status != "connected" || l.Inbound.State != "online"
			})
		})
		for _, l := range links {
			var lost string
			for line := range strings.Lines(metrics) {
				if strings.HasPrefix(line, fmt.Sprintf("clink_link_reconnects_total{peer=%q,site=%q}", l.Name, site)) {
					lost = strings.TrimSpace(line)
				}
			}
			all[site+" to "+l.Name] = fmt.Sprint(l.Replication.Since, l.Inbound.Since, lost)
		}
	}
	return all
}

// replaceFile replaces a file as what rotates secrets does.
func replaceFile(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path+".tmp", content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		t.Fatal(err)
	}
}

// reconnected waits until site's link to peer was made anew, and checks that
// no other link noticed, and that nobody was turned away.
func (d *daemon) reconnected(before map[string]string, site, peer string, sites ...string) {
	d.t.Helper()
	way := site + " to " + peer
	until(d.t, way+" to be made anew", func() bool { return d.since(sites...)[way] != before[way] })
	after := d.since(sites...)
	delete(before, way)
	delete(after, way)
	// The far end sees the one that comes anew, which is no reconnect of its own.
	back := peer + " to " + site
	online := func(s string) string { return strings.SplitN(s, " +", 2)[0] }
	if online(before[back]) != online(after[back]) {
		d.t.Errorf("%s reconnected too: %s, was %s", back, after[back], before[back])
	}
	delete(before, back)
	delete(after, back)
	if !maps.Equal(before, after) {
		d.t.Errorf("links that do not use the file changed:\n%v, were\n%v", after, before)
	}
}

func TestRotatedPasswordReconnectsOneLink(t *testing.T) {
	t.Parallel()
	d := startExample(t, "three-site-mesh")
	sites := []string{"emqx-us-east", "emqx-eu-west", "emqx-ap-south"}
	file := filepath.Join(d.dir, "secrets", "us-east-to-eu-west")
	old, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	d.since(sites...)
	begun := len(d.log.String()) // until here sites may have called before others listened
	for round := range 5 {
		before := d.since(sites...)
		fresh := fmt.Appendf(nil, "fresh-%d", round)
		replaceFile(t, file, append(fresh, '\n'))
		d.reconnected(before, "emqx-us-east", "emqx-eu-west", sites...)
		for password, want := range map[string]bool{string(fresh): true, string(bytes.TrimSpace(old)): false} {
			_, err := dial(t, d.port("emqx-eu-west"), "emqx-us-east:probe", func(c *paho.Connect) {
				c.Username, c.UsernameFlag, c.Password, c.PasswordFlag = "link-us-east", true, []byte(password), true
			})
			if (err == nil) != want {
				t.Errorf("round %d: a connection with the password of the link: %v, want one: %v", round, err, want)
			}
		}
		old = fresh
		if strings.Contains(d.log.String(), string(fresh)) {
			t.Error("the password shows")
		}
	}
	onlines := 0
	for line := range strings.Lines(d.log.String()[begun:]) {
		if strings.Contains(line, "rejected") || strings.Contains(line, "is down") || strings.Contains(line, "connect refused") && !strings.Contains(line, ":probe") {
			t.Error(line)
		}
		if strings.Contains(line, "route replication is online\" site=emqx-us-east peer=emqx-eu-west") {
			onlines++
		}
	}
	if onlines != 5 {
		t.Errorf("the link was made %d times for five rotations, want once each", onlines)
	}
}

// An authority issues certificates into files.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// issue writes NAME.pem and NAME.key; without a signer the certificate is an
// authority's.
func issue(t *testing.T, dir, name, cn string, signer *authority) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: cn}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(90 * 24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, BasicConstraintsValid: true,
	}
	if signer == nil {
		c.IsCA, c.KeyUsage = true, x509.KeyUsageCertSign
		signer = &authority{c, key}
	}
	der, err := x509.CreateCertificate(rand.Reader, c, signer.cert, key.Public(), signer.key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	replaceFile(t, filepath.Join(dir, name+".key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}))
	replaceFile(t, filepath.Join(dir, name+".pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	return &authority{c, key}
}

func TestRotatedCertificates(t *testing.T) {
	t.Parallel()
	dir, names := t.TempDir(), []string{"a", "b", "c"}
	ca := issue(t, dir, "ca", "authority", nil)
	ports := map[string]string{}
	for _, site := range names {
		ports[site] = freePort(t)
		issue(t, dir, site+"-listener", site, ca)
	}
	text := "package topology\n"
	for _, site := range names {
		text += fmt.Sprintf("sites: %s: listeners: mqtts: {bind: \"127.0.0.1:%s\", ssl: {certfile: \"%s-listener.pem\", keyfile: \"%s-listener.key\", cacertfile: \"ca.pem\", verify: \"verify_peer\", fail_if_no_peer_cert: true}}\n", site, ports[site], site, site)
		for _, peer := range names {
			if own := site + "-to-" + peer; peer != site {
				issue(t, dir, own, site, ca)
				text += fmt.Sprintf("sites: %s: cluster: links: %s: {server: \"127.0.0.1:%s\", topics: [\"t/#\"], ssl: {enable: true, certfile: \"%s.pem\", keyfile: \"%s.key\", cacertfile: \"ca.pem\"}}\n", site, peer, ports[peer], own, own)
			}
		}
	}
	replaceFile(t, filepath.Join(dir, "sites.cue"), []byte(text))
	d := start(t, dir, t.TempDir())

	before := d.since(names...)
	issue(t, dir, "a-to-b", "a", ca)
	d.reconnected(before, "a", "b", names...)

	// New connections to a listener get its new certificate; those there are stay.
	before = d.since(names...)
	shown := func() string {
		own, err := tls.LoadX509KeyPair(filepath.Join(dir, "a-to-b.pem"), filepath.Join(dir, "a-to-b.key"))
		if err != nil {
			t.Fatal(err)
		}
		c, err := tls.Dial("tcp", "127.0.0.1:"+ports["b"], &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{own}})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return c.ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	was := shown()
	issue(t, dir, "b-listener", "b", ca)
	until(t, "the listener to show its new certificate", func() bool { return shown() != was })
	if after := d.since(names...); !maps.Equal(before, after) {
		t.Errorf("a listener's new certificate changed links:\n%v, were\n%v", after, before)
	}
	for line := range strings.Lines(d.log.String()) {
		if strings.Contains(line, "rejected") || !tooLate.MatchString(line) && (strings.Contains(line, "route replication is down") || strings.Contains(line, "connection is down")) {
			t.Error(line)
		}
	}
}

// A key that is half written changes nothing: the connections stay, and what is
// whole again is used.
func TestHalfWrittenKey(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ca := issue(t, dir, "ca", "authority", nil)
	ports := map[string]string{"a": freePort(t), "b": freePort(t)}
	text := "package topology\n"
	for site, peer := range map[string]string{"a": "b", "b": "a"} {
		issue(t, dir, site, site, ca)
		issue(t, dir, site+"-listener", site, ca)
		text += fmt.Sprintf("sites: %s: listeners: mqtts: {bind: \"127.0.0.1:%s\", ssl: {certfile: \"%[1]s-listener.pem\", keyfile: \"%[1]s-listener.key\", cacertfile: \"ca.pem\", verify: \"verify_peer\", fail_if_no_peer_cert: true}}\n", site, ports[site])
		text += fmt.Sprintf("sites: %s: cluster: links: %s: {server: \"127.0.0.1:%s\", topics: [\"t/#\"], ssl: {enable: true, certfile: \"%[1]s.pem\", keyfile: \"%[1]s.key\", cacertfile: \"ca.pem\"}}\n", site, peer, ports[peer])
	}
	replaceFile(t, filepath.Join(dir, "sites.cue"), []byte(text))
	d := start(t, dir, t.TempDir())
	for _, file := range []string{"a.key", "b-listener.key"} {
		before, said := d.since("a", "b"), len(d.log.String())
		key, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, file), key[:len(key)/2], 0o600); err != nil {
			t.Fatal(err)
		}
		until(t, "the half key to be noticed", func() bool {
			return strings.Contains(d.log.String()[said:], file)
		})
		if after := d.since("a", "b"); !maps.Equal(before, after) {
			t.Errorf("half of %s changed links:\n%v, were\n%v", file, after, before)
		}
		if err := os.WriteFile(filepath.Join(dir, file), key, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	before := d.since("a", "b")
	issue(t, dir, "a", "a", ca)
	d.reconnected(before, "a", "b", "a", "b")
}
