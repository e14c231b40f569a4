package compiler

import (
	"fmt"

	"cuelang.org/go/cue/format"
)

// Format returns CUE text laid out in CUE's one way, the same bytes if it is so
// already. Text of any package will do; nothing is evaluated. An error has the
// form "name:line:column: why"; it is one of text that does not parse, or is
// larger or deeper than [Compile] takes.
func Format(name string, text []byte) (formatted []byte, err error) {
	defer func() {
		if r := recover(); r != nil {
			formatted, err = nil, fmt.Errorf("%s: formatting it panicked: %.200v", name, r)
		}
	}()
	f, err := Parse(name, text)
	if err != nil {
		return nil, err
	}
	if formatted, err = format.Node(f); err != nil {
		return nil, fmt.Errorf("%s: format it: %w", name, err)
	}
	return formatted, nil
}
