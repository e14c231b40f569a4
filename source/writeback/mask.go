package writeback

import (
	"strconv"
	"strings"

	"clink/diagnostic"
	"clink/internal/secret"
	"clink/topology"
)

// Mask returns what takes credentials out of the text of the files that some
// topologies were compiled from, and keeps every line a line: those that stand
// in fields for them, and those that these topologies came to, wherever in the
// text they are quoted.
func Mask(of ...*topology.Topology) func(text []byte) []byte {
	var quoted []string
	for _, ref := range credentials(of) {
		text, err := ref.Resolve("") // of a literal
		if !ref.IsLiteral() || ref.IsRedacted() || err != nil || strings.ContainsAny(text, "\r\n") {
			continue
		}
		quoted = append(quoted, strconv.Quote(text), `"`+secret.Redacted+`"`, `"`+text+`"`, `"`+secret.Redacted+`"`, "'"+text+"'", "'"+secret.Redacted+"'")
	}
	literals := strings.NewReplacer(quoted...)
	return func(text []byte) []byte { return []byte(literals.Replace(string(diagnostic.Mask(text)))) }
}

// credentials are all references to credentials of some topologies; nil ones
// have none.
func credentials(of []*topology.Topology) []secret.Ref {
	var l []secret.Ref
	for _, t := range of {
		if t == nil {
			continue
		}
		for _, s := range t.Sites {
			l = append(l, s.Target.Secret)
			for _, k := range s.Listeners {
				l = append(l, k.SSL.Password)
			}
			for _, u := range s.Access.Users {
				l = append(l, u.Password, u.PasswordHash)
			}
			for _, k := range s.Links {
				l = append(l, k.Password, k.PasswordHash, k.SSL.Password)
				if k.Inbound != nil {
					l = append(l, k.Inbound.Password)
				}
			}
		}
	}
	return l
}
