package compiler

import (
	"bytes"
	"cmp"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"clink/diagnostic"
	"clink/internal/pki"
	"clink/topology"
)

// expiresSoon is how long before its end a certificate is warned of.
const expiresSoon = 30 * 24 * time.Hour

// A shelf holds the certificate files that were read, and what came of looking
// at them. The next compilation takes over what is the same then.
type shelf struct {
	read   func(name string) ([]byte, error)
	files  map[string]*pemFile
	before *shelf // of the previous compilation, while this one goes on

	// What was found of a certificate file and one of authorities: mostly many
	// links come to one listener, and a signature takes time to verify.
	trust map[[2]string]trusted
}

type pemFile struct {
	text  []byte
	certs []*x509.Certificate
	err   error // of reading it
	bad   error // of what is in it, as certificates
}

// A trusted says why one file of authorities does not stand behind another of
// certificates, "" if it does.
type trusted struct {
	why                string
	shown, authorities *pemFile
	since, until       time.Time // when that there is nothing wrong holds at least
}

func (s *shelf) get(name string) *pemFile {
	if f := s.files[name]; f != nil {
		return f
	}
	f := &pemFile{}
	f.text, f.err = s.read(name)
	if f.err == nil {
		if was := s.was(name); was != nil && bytes.Equal(was.text, f.text) {
			f = was
		} else {
			f.certs, f.bad = pki.Certificates(f.text)
		}
	}
	s.files[name] = f
	return f
}

// was is the file as it was at the previous compilation, nil if it was not
// read.
func (s *shelf) was(name string) *pemFile {
	if s.before == nil || s.before.files[name] == nil || s.before.files[name].err != nil {
		return nil
	}
	return s.before.files[name]
}

// trusts returns what is known of two files from before.
func (s *shelf) trusts(pair [2]string, now time.Time) (trusted, bool) {
	if s.before == nil {
		return trusted{}, false
	}
	t, ok := s.before.trust[pair]
	return t, ok && t.why == "" && t.shown == s.get(pair[0]) && t.authorities == s.get(pair[1]) &&
		now.IsZero() == t.since.IsZero() && !now.Before(t.since) && now.Before(t.until)
}

// untrusted is the function of that name over two files, each pair of which
// is looked at once.
func (k *checker) untrusted(shelf *shelf, shown, site, cacert string) string {
	authorities := k.certs(shelf, site, cacert)
	if authorities == nil {
		return "" // here; another site's may be within reach
	}
	pair := [2]string{shown, cacert}
	t, known := shelf.trust[pair]
	if !known {
		if t, known = shelf.trusts(pair, k.opts.Now); !known {
			t = trusted{shown: shelf.get(shown), authorities: shelf.get(cacert), since: k.opts.Now}
			t.why = untrusted(t.shown.certs, authorities, k.opts.Now)
			t.until = firstEnd(t.shown.certs, authorities)
		}
		shelf.trust[pair] = t
	}
	return t.why
}

// firstEnd is when the first of the certificates expires.
func firstEnd(shown, authorities []*x509.Certificate) time.Time {
	end := shown[0].NotAfter
	for _, c := range slices.Concat(shown, authorities) {
		if c.NotAfter.Before(end) {
			end = c.NotAfter
		}
	}
	return end
}

// A block is an ssl block that is in force, of a link (peer is set) or of a
// listener.
type block struct {
	site, peer, listener string
	tls                  topology.TLS
	kind                 string // of the site's target
}

func (b block) field(name string) []string {
	if b.peer != "" {
		return []string{"cluster", "links", b.peer, "ssl", name}
	}
	return []string{"listeners", b.listener, "ssl", name}
}

func (b block) whose() string {
	if b.peer != "" {
		return b.site + "'s link to " + b.peer
	}
	return b.site + "'s listener " + b.listener
}

// files checks the certificates that the source names, of links but for those
// of which something is known to be wrong already. A file with an absolute name
// is of the host that runs the site, and is looked at there only.
func (k *checker) files(silent map[[2]string]bool) {
	shelf := &shelf{read: k.opts.ReadFile, files: map[string]*pemFile{}, trust: map[[2]string]trusted{}}
	if p := k.opts.Previous; p != nil {
		shelf.before = p.shelf
	}
	defer func() { shelf.before, k.shelf = nil, shelf }() // no history is kept
	for _, name := range k.t.Names() {
		s := k.t.Sites[name]
		for _, m := range s.Listeners {
			if m.Enable && m.SSL.Enable {
				k.block(shelf, block{site: name, listener: m.Name, tls: m.SSL, kind: s.Target.Kind})
			}
		}
		for _, l := range s.Links {
			if !l.SSL.Enable || silent[[2]string{name, l.Name}] || s.Target.Kind == topology.External {
				continue
			}
			k.block(shelf, block{site: name, peer: l.Name, tls: l.SSL, kind: s.Target.Kind})
			k.pairing(shelf, s, l)
		}
	}
}

// block checks one ssl block by itself.
func (k *checker) block(shelf *shelf, b block) {
	if whole := append([]string{"sites", b.site}, b.field("")...); k.bad.touches(whole[:len(whole)-2]...) {
		return
	}
	add := func(field, label, message, help string) {
		d := diagnostic.Diagnostic{
			Rule: "tls-files", Severity: diagnostic.Error, Pos: k.place(b.site, b.field(field)...),
			Label: label, Message: message, Help: help, Sites: []string{b.site},
		}
		if b.peer != "" && k.t.Sites[b.peer] != nil {
			d.Sites = append(d.Sites, b.peer)
		}
		if b.peer != "" {
			d.Links = []diagnostic.Scope{{Site: b.site, Peer: b.peer}}
		}
		k.add(d)
	}
	own := b.peer != "" || b.kind == topology.Embedded // not a listener that somebody else keeps
	switch t := b.tls; {
	case own && t.Verify == "verify_peer" && t.CACertFile == "":
		add("verify", "this block", b.whose()+" verifies whom it speaks with, and names no cacertfile to do so by", `write cacertfile: "certs/ca.pem"`)
	case t.CertFile != "" && t.KeyFile == "" && own:
		add("certfile", "this certificate", b.whose()+" has a certificate without its key", "write keyfile beside certfile")
	case t.KeyFile != "" && t.CertFile == "":
		add("keyfile", "this key", b.whose()+" has a key without its certificate", "write certfile beside keyfile")
	case own && b.listener != "" && t.CertFile == "":
		add("certfile", "this block", b.whose()+" speaks TLS and has no certificate", "write certfile and keyfile")
	}
	good := true
	var absent []string // told together: mostly it is one folder that is not there
	first, lost := "", ""
	for _, f := range [...]struct{ field, name string }{{"cacertfile", b.tls.CACertFile}, {"certfile", b.tls.CertFile}, {"keyfile", b.tls.KeyFile}} {
		why, missing := k.wrongFile(shelf, b, f.field, f.name)
		good = good && why == ""
		switch {
		case missing:
			absent = append(absent, quoted(f.name))
			first, lost = cmp.Or(first, f.field), cmp.Or(lost, f.name)
		case why != "":
			add(f.field, "this file", f.field+" of "+b.whose()+": "+why, b.fileHelp(f.name))
		}
	}
	if len(absent) > 0 {
		add(first, "this file", fmt.Sprintf("%s names files that are not there: %s", b.whose(), strings.Join(absent, ", ")), b.fileHelp(lost))
	}
	if good && b.tls.CertFile != "" && b.tls.KeyFile != "" && k.readable(b.site, b.tls.CertFile) && k.readable(b.site, b.tls.KeyFile) {
		err := pki.Fits(shelf.get(b.tls.CertFile).text, shelf.get(b.tls.KeyFile).text)
		if err != nil && !errors.Is(err, pki.ErrEncrypted) {
			add("keyfile", "this key", "keyfile of "+b.whose()+" does not fit its certificate: "+bounded1(err), "write the key that the certificate was made for")
		}
	}
}

// fileHelp says where the file of a name is looked for.
func (b block) fileHelp(name string) string {
	if path.IsAbs(name) {
		return "an absolute name is one of the host that runs " + b.site
	}
	return "file names are relative to the topology directory"
}

// wrongFile says what is wrong with a file that a block names, "" for nothing
// that can be known here; missing if it is not there at all.
func (k *checker) wrongFile(shelf *shelf, b block, field, name string) (why string, missing bool) {
	if strings.Contains(name, "-----BEGIN") {
		return "it holds the PEM text itself: put that into a file and write its name", false
	}
	if name == "" || !k.readable(b.site, name) {
		return "", false
	}
	f := shelf.get(name)
	switch {
	case errors.Is(f.err, fs.ErrNotExist):
		return quoted(name) + " is not there", true
	case errors.Is(f.err, fs.ErrPermission):
		return quoted(name) + " may not be read", false
	case f.err != nil:
		return quoted(name) + " cannot be read: " + bounded1(f.err), false
	case field != "keyfile" && f.bad != nil:
		return quoted(name) + ": " + bounded1(f.bad), false
	case field == "keyfile" && !strings.Contains(string(f.text), "PRIVATE KEY-----"):
		return quoted(name) + ": it holds no private key in PEM form", false
	}
	return "", false
}

// readable reports whether the file can be looked at from here.
func (k *checker) readable(site, name string) bool {
	switch {
	case k.opts.ReadFile == nil || strings.Contains(name, "${"):
		return false
	case path.IsAbs(name):
		return k.opts.Secret != nil && k.here(site)
	}
	return true
}

// here reports whether this host runs the site.
func (k *checker) here(site string) bool {
	return k.opts.Here == nil || slices.Contains(k.opts.Here, site)
}

// certs returns the certificates of a file, nil if they cannot be had.
func (k *checker) certs(shelf *shelf, site, name string) []*x509.Certificate {
	if name == "" || !k.readable(site, name) {
		return nil
	}
	return shelf.get(name).certs
}

// pairing checks what the two ends of a TLS link show each other.
func (k *checker) pairing(shelf *shelf, s *topology.Site, l topology.Link) {
	peer := k.t.Sites[l.Name]
	if peer == nil || !l.Enable || k.bad.touches(linkPath(s.Name, l.Name, "ssl")...) || k.bad.touches("sites", l.Name, "listeners") {
		return
	}
	m, ok := meets(peer, l)
	if !ok || m.Type != topology.SSL {
		return
	}
	d := diagnostic.Diagnostic{Rule: "tls-cert", Severity: diagnostic.Error, Sites: []string{s.Name, l.Name}, Links: []diagnostic.Scope{{Site: s.Name, Peer: l.Name}}}
	if shown := k.certs(shelf, peer.Name, m.SSL.CertFile); shown != nil {
		d.Related = related("the certificate is this one", k.place(peer.Name, "listeners", m.Name, "ssl", "certfile"))
		if l.SSL.Verify == "verify_peer" {
			k.serverCert(shelf, s, l, m, d)
		}
		d.Pos, d.Sites = k.place(peer.Name, "listeners", m.Name, "ssl", "certfile"), []string{peer.Name, s.Name}
		d.Related = related("this link comes there", l.Pos)
		k.expiry(shown, fmt.Sprintf("the certificate of %s's listener %s", peer.Name, m.Name), d)
	}
	if shown := k.certs(shelf, s.Name, l.SSL.CertFile); shown != nil && m.SSL.Verify == "verify_peer" {
		d.Pos, d.Sites = k.link(s.Name, l.Name, "ssl", "certfile"), []string{s.Name, peer.Name}
		d.Related = related("it is shown to this listener", m.Pos)
		k.clientCert(shelf, peer, m, l, d)
		k.expiry(shown, "the certificate of "+s.Name+"'s link to "+peer.Name, d)
	}
}

// serverCert checks what the peer shows against what the link expects.
func (k *checker) serverCert(shelf *shelf, s *topology.Site, l topology.Link, m topology.Listener, d diagnostic.Diagnostic) {
	shown := shelf.get(m.SSL.CertFile).certs
	list, err := parseServer(l.Server)
	if err != nil {
		return
	}
	host, field := list[0].host, []string{"server"}
	if l.SSL.ServerName != "" {
		host, field = l.SSL.ServerName, []string{"ssl", "server_name_indication"}
	}
	if host != "disable" && shown[0].VerifyHostname(host) != nil {
		d := d
		d.Pos, d.Label = k.link(s.Name, l.Name, field...), "this name"
		d.Message = fmt.Sprintf("%s's certificate is not for %s; it names %s", l.Name, host, namesIn(shown[0]))
		d.Help = "address the peer by a name in its certificate, or write that name as server_name_indication"
		k.add(d)
	}
	if why := k.untrusted(shelf, m.SSL.CertFile, s.Name, l.SSL.CACertFile); why != "" {
		d.Pos, d.Label = k.link(s.Name, l.Name, "ssl", "cacertfile"), "these authorities"
		d.Message = fmt.Sprintf("%s's certificate is not trusted by %s's link: %s", l.Name, s.Name, why)
		d.Help = "write the cacertfile with the authority that signed it"
		k.add(d)
	}
}

// clientCert checks what the link shows against what the peer's listener
// expects.
func (k *checker) clientCert(shelf *shelf, peer *topology.Site, m topology.Listener, l topology.Link, d diagnostic.Diagnostic) {
	shown := shelf.get(l.SSL.CertFile).certs
	d.Label = "this certificate"
	if why := k.untrusted(shelf, l.SSL.CertFile, peer.Name, m.SSL.CACertFile); why != "" {
		d.Message = fmt.Sprintf("the client certificate is not trusted by %s's listener %s: %s", peer.Name, m.Name, why)
		d.Help = "show a certificate that an authority in the listener's cacertfile signed"
		k.add(d)
		return
	}
	a := k.arrival(peer.Name, d.Sites[0])
	if a.proof == proofCertificate && peer.Target.Kind == topology.Embedded && shown[0].Subject.CommonName != a.grant.CertName {
		d.Message = fmt.Sprintf("the client certificate is of %s, and %s lets the link in as %s only", quoted(shown[0].Subject.CommonName), peer.Name, a.grant.CertName)
		d.Help = "show a certificate whose common name (CN) is the cluster's name, or give the link username and password"
		k.add(d)
	}
}

// untrusted says why no certificate of the authorities stands behind the chain
// shown, "" if one does. That one is out of its time is told by itself.
func untrusted(shown, authorities []*x509.Certificate, now time.Time) string {
	leaf := shown[0]
	if now.IsZero() || now.Before(leaf.NotBefore) || now.After(leaf.NotAfter) {
		now = leaf.NotBefore
	}
	opts := x509.VerifyOptions{Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}
	for _, c := range authorities {
		opts.Roots.AddCert(c)
	}
	for _, c := range shown[1:] {
		opts.Intermediates.AddCert(c)
	}
	_, err := leaf.Verify(opts)
	var unknown x509.UnknownAuthorityError
	switch {
	case err == nil:
		return ""
	case errors.As(err, &unknown):
		return "no authority in cacertfile signed it; it says it was signed by " + quoted(leaf.Issuer.CommonName)
	}
	return bounded1(err)
}

// expiry tells a certificate that is out of its time or will soon be. It is
// told once for each place, however many links come to it.
func (k *checker) expiry(shown []*x509.Certificate, whose string, d diagnostic.Diagnostic) {
	now := k.opts.Now
	if now.IsZero() {
		return
	}
	const day = "2006-01-02"
	d.Label = "this certificate"
	d.Help = "renew it; a running site takes the new file without a restart"
	for i, c := range shown {
		what := whose
		if i > 0 {
			what = "the authority " + quoted(c.Subject.CommonName) + " in " + whose
		}
		switch {
		case now.After(c.NotAfter):
			d.Message = what + " expired on " + c.NotAfter.UTC().Format(day)
		case now.Before(c.NotBefore):
			d.Message = what + " is not valid before " + c.NotBefore.UTC().Format(day)
		case now.Add(expiresSoon).After(c.NotAfter):
			d.Severity = diagnostic.Warning
			d.Message = what + " expires on " + c.NotAfter.UTC().Format(day)
		default:
			continue
		}
		k.add(d)
		return
	}
}

// namesIn lists the first names that a certificate is for.
func namesIn(c *x509.Certificate) string {
	names := slices.Clone(c.DNSNames)
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	const few = 5
	switch {
	case len(names) == 0:
		return "none (a common name is not looked at)"
	case len(names) > few:
		return strings.Join(names[:few], ", ") + fmt.Sprintf(" and %d more", len(names)-few)
	}
	return strings.Join(names, ", ")
}

// bounded1 is an error in one line of bounded length.
func bounded1(err error) string {
	text := strings.Join(strings.Fields(err.Error()), " ")
	if len(text) > 200 {
		text = strings.ToValidUTF8(text[:200], "") + "…"
	}
	return text
}
