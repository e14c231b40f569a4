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
	for _, t := range of {
		if t == nil {
			continue
		}
		for _, text := range literals(t) {
			if text != secret.Redacted && !strings.ContainsAny(text, "\r\n") {
				quoted = append(quoted, strconv.Quote(text), `"`+secret.Redacted+`"`, `"`+text+`"`, `"`+secret.Redacted+`"`, "'"+text+"'", "'"+secret.Redacted+"'")
			}
		}
	}
	hide := strings.NewReplacer(quoted...)
	return func(text []byte) []byte { return []byte(hide.Replace(string(diagnostic.Mask(text)))) }
}
