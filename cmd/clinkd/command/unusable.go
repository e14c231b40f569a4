package command

import (
	"slices"

	"clink/internal/pki"
	"clink/topology"
)

// A file that is being written, or a certificate whose key comes a moment later,
// must not take down what works. So what changed of a link or listener is only
// taken for a change if its files can be used; connections that are there stay
// as they are until then, and later looks find the files whole.

// keepUsable gives links and listeners whose files changed, and cannot be used
// now, the digests that they had before.
func (l *loader) keepUsable(t, before *topology.Topology) {
	if before == nil {
		return
	}
	for _, name := range l.sites {
		now, was := t.Sites[name], before.Sites[name]
		if now == nil || was == nil {
			continue
		}
		for i := range now.Links {
			k := &now.Links[i]
			if old, ok := was.Link(k.Name); ok && old.Digest != "" {
				same := *k
				same.Digest = old.Digest
				l.keep(name, "link to "+k.Name, &k.Digest, old.Digest, same.Equal(old), k.SSL)
			}
		}
		for i := range now.Listeners {
			k := &now.Listeners[i]
			at := slices.IndexFunc(was.Listeners, func(o topology.Listener) bool { return o.Name == k.Name })
			if at >= 0 && was.Listeners[at].Digest != "" {
				same := *k
				same.Digest = was.Listeners[at].Digest
				l.keep(name, "listener "+k.Name, &k.Digest, same.Digest, same.Equal(was.Listeners[at]), k.SSL)
			}
		}
	}
}

// keep has a part keep its digest if nothing but its files changed, and these
// cannot be used.
func (l *loader) keep(site, part string, digest *string, old string, onlyFiles bool, t topology.TLS) {
	if *digest == old || !onlyFiles || !t.Enable {
		return
	}
	if err := usable(l.dir.Path(), t); err != nil {
		l.log.Warn("a changed certificate, key or authority cannot be used: the one before stays until it is whole", "site", site, "part", part, "err", err)
		*digest = old
	}
}

// usable says why the files cannot be used.
func usable(base string, t topology.TLS) error {
	if t.CertFile != "" && t.KeyFile != "" {
		if _, err := pki.KeyPair(base, t.CertFile, t.KeyFile); err != nil {
			return err
		}
	}
	if t.CACertFile != "" {
		if _, err := pki.Authorities(base, t.CACertFile); err != nil {
			return err
		}
	}
	return nil
}
