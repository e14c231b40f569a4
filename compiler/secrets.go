package compiler

import (
	"fmt"
	"strings"

	"clink/diagnostic"
	"clink/internal/secret"
	"clink/topology"
)

// secrets tries the references to credentials that this host needs: those of
// its sites, and those by which they know the peers that come to them.
func (k *checker) secrets() {
	if k.opts.Secret == nil {
		return
	}
	tried := map[string]bool{}
	for _, name := range k.t.Names() {
		s := k.t.Sites[name]
		if !k.here(name) || s.Target.Kind == topology.External {
			continue
		}
		for _, c := range credentialsOf(s) {
			if isLink(append([]string{"sites", name}, c.path...)) {
				if l, _ := s.Link(c.path[2]); !l.Enable {
					continue
				}
			}
			k.trySecret(tried, c.ref, append([]string{"sites", name}, c.path...), "")
		}
		for _, a := range k.incoming[name] {
			ref, field := a.grant.Password, "password"
			if !a.grant.PasswordHash.IsZero() {
				ref, field = a.grant.PasswordHash, "password_hash"
			}
			if a.proof == proofPassword {
				k.trySecret(tried, ref, linkPath(a.site, a.peer, field), name)
			}
		}
	}
}

// trySecret tells a reference that cannot be resolved, once. For a peer's
// credential, at is the site that needs it.
func (k *checker) trySecret(tried map[string]bool, ref secret.Ref, path []string, at string) {
	key := strings.Join(path, "\x00")
	if ref.IsZero() || ref.IsLiteral() || tried[key] || k.bad.touches(path...) {
		return
	}
	tried[key] = true
	err := k.opts.Secret(ref)
	if err == nil {
		return
	}
	d := diagnostic.Diagnostic{
		Rule: "secret-unreadable", Severity: diagnostic.Error, Sites: []string{path[1]}, Label: "this reference",
		Message: "cannot be had here: " + bounded1(err), Pos: k.place(path[1], path[2:]...),
	}
	d.Help = secretHelp(ref, at, path[1])
	what := strings.Join(path[2:], ".") + " of " + path[1]
	if isLink(path) {
		what = fmt.Sprintf("the %s of %s's link to %s", strings.Join(path[5:], "."), path[1], path[4])
		d.Links = []diagnostic.Scope{{Site: path[1], Peer: path[4]}}
	}
	d.Message = what + " " + d.Message
	if isLink(path) && k.t.Sites[path[4]] != nil && path[4] != path[1] {
		d.Sites = append(d.Sites, path[4])
	}
	k.add(d)
}

// secretHelp says what to do about a site's credential that site at lacks, its
// own if at is "".
func secretHelp(ref secret.Ref, at, site string) string {
	env := strings.HasPrefix(ref.String(), "env://")
	switch {
	case at != "" && at != site && env:
		return at + " knows the peer by it: set the variable here too, or give password_hash instead"
	case at != "" && at != site:
		return at + " knows the peer by it: put the file here too, or give password_hash instead"
	case env:
		return "set the variable in the environment of what runs " + site
	}
	return "put the credential into that file; names are relative to the topology directory"
}
