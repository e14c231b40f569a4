package compiler

import (
	"slices"
	"strings"

	"clink/compiler/cuetext"
	"clink/diagnostic"
	"clink/topology"
)

// mend gives a finding its fix, where one is certain, and says so in its help.
func (k *checker) mend(f found, d *diagnostic.Diagnostic) {
	if k.edit == nil {
		return
	}
	var edit diagnostic.Edit
	var message string
	ok, does := false, "writes it"
	switch f.rule {
	case "one-sided":
		edit, ok = k.addHalf(f)
		message = "add the link back to " + f.site
		if ok {
			d.Help = "clinkc vet --fix adds it; clinkc explain one-sided"
		}
	case "enable-mismatch":
		// No message crosses now. Disabling what is refused changes nothing
		// but the noise; enabling could start what somebody stopped.
		edit, ok = k.disable(f)
		does = "disables this one too"
		message = "disable the link to " + f.peer + " here too"
	case "server-is-self", "server-is-third", "server-unknown", "server-many", "tls-no-port":
		edit, message, ok = k.address(f)
	case "name-mismatch":
		edit, ok = k.rename(f)
		message = "call the cluster " + f.site
	}
	if ok {
		k.fixed(d, message, does, edit)
	}
}

// fixed gives a finding its fix, and says in its help what that does.
func (k *checker) fixed(d *diagnostic.Diagnostic, message, does string, edits ...diagnostic.Edit) {
	d.Fix = &diagnostic.Fix{Message: message, Edits: edits}
	if !strings.Contains(d.Help, "--fix") {
		d.Help = strings.TrimPrefix(d.Help+"; clinkc vet --fix "+does, "; ")
	}
}

// addHalf writes the missing half of a link: the first fitting endpoint as
// server, no topics, and TLS with the same authorities. It has no credential:
// where the half would be let in nowhere, or by anybody, there is none.
func (k *checker) addHalf(f found) (diagnostic.Edit, bool) {
	half, ok := OtherHalf(k.t, f.site, f.peer)
	if !ok || !half.Unproven || !half.Loopback {
		return diagnostic.Edit{}, false
	}
	fields := []string{"server: " + cuetext.Quote(half.Server), "topics: []"}
	if half.TLS {
		fields = append(fields, "ssl: {enable: true, cacertfile: "+cuetext.Quote(half.CACertFile)+"}")
	}
	link := newField(f.site, fields...)
	path := []string{"sites", f.peer, "cluster", "links"}
	for n := len(path); n >= 2; n-- {
		if _, s := k.edit.braces(path[:n]); s != nil {
			return k.edit.insert(link.under(path[n:]...), path[:n]...)
		}
	}
	return k.edit.insert(link, path...)
}

// addressOf is where a link leads, the zero address if that cannot be read.
func addressOf(l topology.Link) address {
	list, err := parseServer(l.Server)
	if err != nil {
		return address{}
	}
	return list[0]
}

func (k *checker) disable(f found) (diagnostic.Edit, bool) {
	path := linkPath(f.site, f.peer, "enable")
	if k.edit.x.find(path...) != nil {
		return k.edit.literal("false", path...)
	}
	const off = "enable: false"
	return k.edit.insert(field{"", off, off}, path[:5]...)
}

// address writes the one address at which the peer takes what the link speaks.
func (k *checker) address(f found) (diagnostic.Edit, string, bool) {
	all := k.candidates(f)
	if len(all) != 1 {
		return diagnostic.Edit{}, "", false
	}
	edit, ok := k.edit.literal(cuetext.Quote(all[0]), linkPath(f.site, f.peer, "server")...)
	return edit, "write server: " + cuetext.Quote(all[0]), ok
}

// candidates are the addresses at which the peer takes what the link speaks, in
// order.
func (k *checker) candidates(f found) []string {
	l, _ := k.t.Sites[f.site].Link(f.peer)
	host := addressOf(l).host
	var all, near []string
	for _, m := range k.t.Sites[f.peer].Listeners {
		if !m.Enable || !fits(m, l) {
			continue
		}
		for _, a := range endpoints(m) {
			all = append(all, a.String())
			if a.host == host {
				near = append(near, a.String())
			}
		}
	}
	if f.rule == "tls-no-port" && len(near) > 0 {
		all = near
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// rename makes cluster.name the site's key, unless a link somewhere goes by the
// other name.
func (k *checker) rename(f found) (diagnostic.Edit, bool) {
	for _, s := range k.t.Sites {
		if _, used := s.Link(k.names[f.site]); used {
			return diagnostic.Edit{}, false
		}
	}
	return k.edit.literal(cuetext.Quote(f.site), "sites", f.site, "cluster", "name")
}
