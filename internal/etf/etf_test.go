package etf

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math"
	"math/big"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

// octets reads hex with blanks between the bytes and puts the version byte in
// front.
func octets(t testing.TB, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return append([]byte{Version}, b...)
}

func bigInt(t testing.TB, text string) *big.Int {
	t.Helper()
	n, ok := new(big.Int).SetString(text, 10)
	if !ok {
		t.Fatal(text)
	}
	return n
}

func TestDecode(t *testing.T) {
	tests := []struct {
		name, hex string
		want      any
	}{
		{"small integer", "61 ff", int64(255)},
		{"256", "62 00 00 01 00", int64(256)},
		{"small value in the wide form", "62 00 00 00 64", int64(100)},
		{"-1", "62 ff ff ff ff", int64(-1)},
		{"2^31", "6e 04 00 00 00 00 80", int64(2147483648)},
		{"-2^31-1", "6e 04 01 01 00 00 80", int64(-2147483649)},
		{"incarnation", "6e 06 00 80 59 54 83 98 01", int64(1754550000000)},
		{"bignum of no bytes", "6e 00 00", int64(0)},
		{"large bignum", "6f 00 00 00 01 01 07", int64(-7)},
		{"bignum with zeros on top", "6e 0a 00 05 00 00 00 00 00 00 00 00 00", int64(5)},
		{"min int64", "6e 08 01 00 00 00 00 00 00 00 80", int64(math.MinInt64)},
		{"max int64", "6e 08 00 ff ff ff ff ff ff ff 7f", int64(math.MaxInt64)},
		{"2^63", "6e 08 00 00 00 00 00 00 00 00 80", bigInt(t, "9223372036854775808")},
		{"-2^63-1", "6e 08 01 01 00 00 00 00 00 00 80", bigInt(t, "-9223372036854775809")},
		{"float", "46 3f f8 00 00 00 00 00 00", 1.5},
		{"atom", "77 02 6f 6b", Atom("ok")},
		{"empty atom", "77 00", Atom("")},
		{"long atom", "76 00 02 6f 6b", Atom("ok")},
		{"Latin-1 atom", "64 00 02 6f 6b", Atom("ok")},
		{"Latin-1 atom beyond ASCII", "64 00 02 fc 6b", Atom("ük")},
		{"short Latin-1 atom", "73 02 6f e9", Atom("oé")},
		{"binary", "6d 00 00 00 02 ff 00", []byte{0xff, 0}},
		{"empty list", "6a", []any{}},
		{"empty list in the long form", "6c 00 00 00 00 6a", []any{}},
		{"list", "6c 00 00 00 02 61 01 77 01 61 6a", []any{int64(1), Atom("a")}},
		{"list of bytes", "6b 00 03 01 02 03", []any{int64(1), int64(2), int64(3)}},
		{"tuple", "68 02 61 01 68 00", Tuple{int64(1), Tuple{}}},
		{"large tuple", "69 00 00 00 01 61 01", Tuple{int64(1)}},
		{"map", "74 00 00 00 02 61 0a 61 01 77 01 61 6a", Map{{int64(10), int64(1)}, {Atom("a"), []any{}}}},
		{"1 and 1.0 differ", "74 00 00 00 02 61 01 6a 46 3f f0 00 00 00 00 00 00 6a", Map{{int64(1), []any{}}, {1.0, []any{}}}},
		{"atom and binary differ", "74 00 00 00 02 77 01 61 6a 6d 00 00 00 01 61 6a", Map{{Atom("a"), []any{}}, {[]byte("a"), []any{}}}},
		{"trailing bytes", "61 01 ff ff", int64(1)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Decode(octets(t, tt.hex), Limits{})
			if err != nil || !reflect.DeepEqual(got, tt.want) {
				t.Fatalf("got %#v, %v; want %#v", got, err, tt.want)
			}
		})
	}
}

func TestDecodeOpaque(t *testing.T) {
	const node = "77 03 61 40 62 "
	tests := map[string]string{
		"bit string":         "4d 00 00 00 01 03 e0",
		"float as text":      "63 " + strings.Repeat("30 ", 31),
		"pid":                "67 " + node + "00 00 00 01 00 00 00 00 01",
		"new pid":            "58 " + node + "00 00 00 01 00 00 00 00 00 00 00 01",
		"port":               "66 " + node + "00 00 00 01 01",
		"new port":           "59 " + node + "00 00 00 01 00 00 00 01",
		"v4 port":            "78 " + node + "00 00 00 00 00 00 00 01 00 00 00 01",
		"reference":          "65 " + node + "00 00 00 01 01",
		"new reference":      "72 00 02 " + node + "01 00 00 00 01 00 00 00 02",
		"newer reference":    "5a 00 02 " + node + "00 00 00 01 00 00 00 01 00 00 00 02",
		"function":           "70 00 00 00 06 01 02",
		"exported function":  "71 77 01 6d 77 01 66 61 02",
		"old function":       "75 00 00 00 01 67 " + node + "00 00 00 01 00 00 00 00 01 77 01 6d 61 00 62 00 00 00 01 61 05",
		"old function, none": "75 00 00 00 00 67 " + node + "00 00 00 01 00 00 00 00 01 77 01 6d 61 00 62 00 00 00 01",
	}
	for name, text := range tests {
		t.Run(name, func(t *testing.T) {
			one := octets(t, text)
			got, err := Decode(octets(t, "68 02 "+text+" 61 07"), Limits{})
			want := Tuple{Opaque(one[1:]), int64(7)}
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Fatalf("got %#v, %v; want %#v", got, err, want)
			}
			for cut := range len(one) - 1 {
				if _, err := Decode(one[:cut+1], Limits{}); !errors.Is(err, ErrMalformed) {
					t.Fatalf("cut to %d bytes: %v", cut+1, err)
				}
			}
		})
	}
}

func TestDecodeRefuses(t *testing.T) {
	deep := func(n int) string { return strings.Repeat("68 01 ", n) + "6a" }
	tests := []struct {
		name, hex string
		lim       Limits
		want      error
	}{
		{"nothing", "", Limits{}, ErrMalformed},
		{"unknown tag", "00", Limits{}, ErrMalformed},
		{"atom cache reference", "52 00", Limits{}, ErrMalformed},
		{"local term", "79 00 00 00 00 00 00 00 00", Limits{}, ErrMalformed},
		{"compressed within a term", "68 01 50 00 00 00 02 78 9c", Limits{}, ErrMalformed},
		{"cut binary", "6d 00 00 00 05 61", Limits{}, ErrMalformed},
		{"binary of 4 GiB", "6d ff ff ff ff", Limits{}, ErrMalformed},
		{"list of 4 G", "6c ff ff ff ff 6a", Limits{}, ErrMalformed},
		{"map of 4 G", "74 ff ff ff ff", Limits{}, ErrMalformed},
		{"map of more than half the bytes", "74 00 00 00 02 61 01 61", Limits{}, ErrMalformed},
		{"tuple of 4 G", "69 ff ff ff ff", Limits{}, ErrMalformed},
		{"string longer than the rest", "6b ff ff 01", Limits{}, ErrMalformed},
		{"bignum of 4 GiB", "6f ff ff ff ff 00", Limits{}, ErrMalformed},
		{"sign of 2", "6e 01 02 01", Limits{}, ErrMalformed},
		{"float not a number", "46 7f f8 00 00 00 00 00 00", Limits{}, ErrMalformed},
		{"infinite float", "46 7f f0 00 00 00 00 00 00", Limits{}, ErrMalformed},
		{"atom not UTF-8", "77 01 ff", Limits{}, ErrMalformed},
		{"improper list", "6c 00 00 00 01 61 01 61 02", Limits{}, ErrMalformed},
		{"empty list with a tail", "6c 00 00 00 00 61 01", Limits{}, ErrMalformed},
		{"list without tail", "6c 00 00 00 01 61 01", Limits{}, ErrMalformed},
		{"function shorter than its size field", "70 00 00 00 03 00", Limits{}, ErrMalformed},
		{"same key twice", "74 00 00 00 02 77 01 61 6a 77 01 61 6a", Limits{}, ErrMalformed},
		{"same key, other encoding", "74 00 00 00 02 61 64 6a 62 00 00 00 64 6a", Limits{}, ErrMalformed},
		{"same atom, other encoding", "74 00 00 00 02 77 01 61 6a 64 00 01 61 6a", Limits{}, ErrMalformed},
		{"same tuple as key", "74 00 00 00 02 68 01 6b 00 01 07 6a 68 01 6c 00 00 00 01 61 07 6a 6a", Limits{}, ErrMalformed},
		{"same map as key, other order",
			"74 00 00 00 02 74 00 00 00 02 61 01 6a 61 02 6a 6a 74 00 00 00 02 61 02 6a 61 01 6a 6a", Limits{}, ErrMalformed},
		{"too deep", deep(65), Limits{}, ErrLimit},
		{"too deep for less", deep(3), Limits{Depth: 2}, ErrLimit},
		{"depth limit cannot be raised", deep(65), Limits{Depth: 1000}, ErrLimit},
		{"too deep in a function", "75 00 00 00 01 " + deep(70), Limits{}, ErrLimit},
		{"tuple too wide", "68 03 6a 6a 6a", Limits{Arity: 2}, ErrLimit},
		{"bignum too long", "6e 09 00 01 01 01 01 01 01 01 01 01", Limits{Bignum: 8}, ErrLimit},
		{"too many terms", "6c 00 00 00 04 6a 6a 6a 6a 6a", Limits{Terms: 3}, ErrLimit},
		{"too many terms in a string", "6b 00 04 01 02 03 04", Limits{Terms: 3}, ErrLimit},
		{"too many bytes", "6d 00 00 00 04 00 00 00 00", Limits{Input: 9}, ErrLimit},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v, err := Decode(octets(t, tt.hex), tt.lim)
			if !errors.Is(err, tt.want) || v != nil {
				t.Fatalf("got %#v, %v; want %v", v, err, tt.want)
			}
		})
	}
	if _, err := Decode(octets(t, deep(64)), Limits{}); err != nil {
		t.Errorf("64 levels: %v", err)
	}
	if _, err := Decode([]byte{130, 106}, Limits{}); !errors.Is(err, ErrMalformed) {
		t.Errorf("first byte 130: %v", err)
	}
}

// compress wraps a term, without its version byte, into tag 80.
func compress(t testing.TB, declared int, term []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	b.Write(binary.BigEndian.AppendUint32([]byte{Version, tagCompressed}, uint32(declared)))
	z := zlib.NewWriter(&b)
	if _, err := z.Write(term); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestOpenCompressed(t *testing.T) {
	term := AppendBinary(nil, strings.Repeat("a", 1000))
	lim := Limits{Inflaters: new(sync.Pool)}
	good := compress(t, len(term), term)
	flipped := bytes.Clone(good)
	flipped[len(flipped)-1] ^= 1
	tests := []struct {
		name string
		in   []byte
		want error
	}{
		{"exact", good, nil},
		{"again, with the reader reused", good, nil},
		{"bytes behind the stream", append(bytes.Clone(good), 1, 2, 3), nil},
		{"declared one less", compress(t, len(term)-1, term), ErrMalformed},
		{"declared one more", compress(t, len(term)+1, term), ErrMalformed},
		{"declared beyond any expansion", compress(t, 1<<20, term), ErrMalformed},
		{"declared 4 GiB", compress(t, math.MaxUint32, term), ErrLimit},
		{"checksum wrong", flipped, ErrMalformed},
		{"stream cut", good[:len(good)-5], ErrMalformed},
		{"checksum cut", good[:len(good)-1], ErrMalformed},
		{"no stream", good[:6], ErrMalformed},
		{"no size", good[:4], ErrMalformed},
		{"no zlib", append(bytes.Clone(good[:6]), "some text that is no zlib"...), ErrMalformed},
		{"compressed twice", compress(t, len(good)-1, good[1:]), ErrMalformed},
		{"exact, after failures", good, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v, err := Decode(tt.in, lim)
			if !errors.Is(err, tt.want) {
				t.Fatalf("%v; want %v", err, tt.want)
			}
			if err == nil && !bytes.Equal(v.([]byte), term[5:]) {
				t.Fatalf("got %q", v)
			}
		})
	}
}

// allocated measures the bytes that f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func TestBombsAllocateLittle(t *testing.T) {
	zeros := make([]byte, 4<<20)
	tests := map[string][]byte{
		"4 MiB of zeros":         compress(t, len(zeros), zeros),
		"4 MiB declared as less": compress(t, 1000, zeros),
		"list of 4 G":            octets(t, "6c ff ff ff ff 6a"),
		"map of 4 G":             octets(t, "74 ff ff ff ff 6a"),
		"binary of 4 GiB":        octets(t, "6d ff ff ff ff 6a"),
		"lists in lists":         octets(t, strings.Repeat("6c 00 00 ff ff ", 60000)),
		"a million empty lists":  octets(t, "6c 00 0f 42 40 "+strings.Repeat("6a ", 1000001)),
	}
	for name, bomb := range tests {
		t.Run(name, func(t *testing.T) {
			var err error
			if n := allocated(func() { _, err = Decode(bomb, Limits{Inflated: 1 << 20}) }); err == nil || n > 128<<10 {
				t.Fatalf("%d bytes allocated, %v", n, err)
			}
		})
	}
}

func TestReader(t *testing.T) {
	b := AppendTuple([]byte{Version}, 8)
	b = AppendAtom(b, "message")
	b = AppendBinary(b, "id")
	b = AppendInt(b, -300)
	b = AppendAtom(b, "true")
	b = AppendAtom(b, "false")
	b = AppendInt(AppendAtom(AppendMap(b, 1), "k"), 1)
	b = AppendList(AppendInt(AppendList(b, 1), 2), 0)
	b = AppendList(b, 0)
	r, err := Open(b, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if !r.AtTuple() || r.Tuple() != 8 || !r.AtAtom() || string(r.Atom()) != "message" {
		t.Fatal("head", r.Err())
	}
	id := r.Binary()
	if string(id) != "id" || &id[0] != &b[1+2+9+5] || cap(id) != 2 {
		t.Fatal("the binary does not point into the input, or beyond itself")
	}
	if !r.AtInt() || r.Int() != -300 || !r.Bool() || r.Bool() || !r.AtMap() {
		t.Fatal("scalars", r.Err())
	}
	at := r.Offset()
	r.Skip()
	if !r.AtList() {
		t.Fatal("skip")
	}
	r.Seek(at)
	if r.Map() != 1 || string(r.Atom()) != "k" || r.Int() != 1 {
		t.Fatal("map", r.Err())
	}
	n := r.List()
	if n != 1 || r.Int() != 2 {
		t.Fatal("list", r.Err())
	}
	r.EndList(n)
	n = r.List()
	r.EndList(n)
	if n != 0 || r.Err() != nil || r.Offset() != len(r.Bytes()) {
		t.Fatal("end", r.Err())
	}
}

func TestReaderFailuresStay(t *testing.T) {
	steps := map[string]func(*Reader){
		"Tuple": func(r *Reader) { r.Tuple() }, "Map": func(r *Reader) { r.Map() },
		"List": func(r *Reader) { r.List() }, "Int": func(r *Reader) { r.Int() },
		"Binary": func(r *Reader) { r.Binary() }, "Bool": func(r *Reader) { r.Bool() },
		"IOData": func(r *Reader) { r.IOData() },
	}
	for name, step := range steps {
		r, err := Open(AppendAtom([]byte{Version}, "a"), Limits{})
		if err != nil {
			t.Fatal(err)
		}
		step(&r)
		first := r.Err()
		if !errors.Is(first, ErrType) || r.Offset() != 0 {
			t.Errorf("%s of an atom: %v at %d", name, first, r.Offset())
		}
		r.Atom()
		r.Skip()
		r.EndList(1)
		r.Seek(1)
		if r.Atom() != nil || r.Term() != nil || r.Int() != 0 || r.AtAtom() || r.Err() != first {
			t.Errorf("%s: goes on after its failure: %v", name, r.Err())
		}
	}
	r, _ := Open([]byte{Version, tagNil}, Limits{})
	r.Seek(2)
	if !errors.Is(r.Err(), ErrMalformed) {
		t.Error("seek beyond the end", r.Err())
	}
}

func TestIOData(t *testing.T) {
	nested := func(n int) string { return strings.Repeat("6c 00 00 00 01 ", n) + "6a" + strings.Repeat(" 6a", n) }
	tests := []struct {
		name, hex, want string
		err             error
	}{
		{"binary", "6d 00 00 00 02 61 62", "ab", nil},
		{"empty list", "6a", "", nil},
		{"empty list in the long form", "6c 00 00 00 00 6a", "", nil},
		{"bytes", "6b 00 02 61 62", "ab", nil},
		{"mixed", "6c 00 00 00 04 6d 00 00 00 01 61 61 62 6b 00 01 63 6c 00 00 00 01 61 64 6a 6a", "abcd", nil},
		{"binary as tail", "6c 00 00 00 01 61 61 6d 00 00 00 01 62", "ab", nil},
		{"list as tail", "6c 00 00 00 01 61 61 6b 00 01 62", "ab", nil},
		{"deep", nested(64), "", nil},
		{"too deep", nested(65), "", ErrLimit},
		{"not a byte", "6c 00 00 00 01 62 00 00 01 00 6a", "", ErrType},
		{"atom inside", "6c 00 00 00 01 77 01 61 6a", "", ErrType},
		{"integer as tail", "6c 00 00 00 01 61 61 61 62", "", ErrType},
		{"atom", "77 01 61", "", ErrType},
		{"cut", "6c 00 00 00 02 61 61", "", ErrMalformed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, err := Open(octets(t, tt.hex), Limits{})
			if err != nil {
				t.Fatal(err)
			}
			if got := string(r.IOData()); got != tt.want || !errors.Is(r.Err(), tt.err) {
				t.Fatalf("got %q, %v; want %q, %v", got, r.Err(), tt.want, tt.err)
			}
			if tt.err == nil && r.Offset() != len(r.Bytes()) {
				t.Fatalf("ends at %d of %d", r.Offset(), len(r.Bytes()))
			}
		})
	}
}

func TestMapGet(t *testing.T) {
	m := Map{{int64(1), "one"}, {Atom("a"), "atom"}, {[]byte("a"), "binary"}, {Tuple{[]byte("x")}, "tuple"}}
	for key, want := range map[any]string{int64(1): "one", Atom("a"): "atom", "a": "binary"} {
		if v, ok := m.Get(key); !ok || v != want {
			t.Errorf("Get(%#v) = %v, %v", key, v, ok)
		}
	}
	if v, ok := m.Get("b"); ok || v != nil {
		t.Errorf("Get of a missing key = %v, %v", v, ok)
	}
}

func TestAppend(t *testing.T) {
	tests := []struct {
		got  []byte
		want string
	}{
		{AppendInt(nil, 0), "61 00"}, {AppendInt(nil, 255), "61 ff"}, {AppendInt(nil, 256), "62 00 00 01 00"},
		{AppendInt(nil, -1), "62 ff ff ff ff"}, {AppendInt(nil, math.MinInt32), "62 80 00 00 00"},
		{AppendInt(nil, 2147483648), "6e 04 00 00 00 00 80"}, {AppendInt(nil, -2147483649), "6e 04 01 01 00 00 80"},
		{AppendInt(nil, math.MinInt64), "6e 08 01 00 00 00 00 00 00 00 80"},
		{AppendAtom(nil, "ok"), "77 02 6f 6b"},
		{AppendAtom(nil, Atom(strings.Repeat("a", 256))), "76 01 00" + strings.Repeat("61", 256)},
		{AppendBinary(nil, []byte{1}), "6d 00 00 00 01 01"},
		{AppendTuple(nil, 255), "68 ff"}, {AppendTuple(nil, 256), "69 00 00 01 00"},
		{AppendList(nil, 0), "6a"}, {AppendList(nil, 2), "6c 00 00 00 02"}, {AppendMap(nil, 0), "74 00 00 00 00"},
	}
	for _, tt := range tests {
		if want := octets(t, tt.want)[1:]; !bytes.Equal(tt.got, want) {
			t.Errorf("got % x, want % x", tt.got, want)
		}
	}
}

// appendTerm is the writer of whole terms for the tests.
func appendTerm(dst []byte, term any) []byte {
	switch v := term.(type) {
	case Tuple:
		dst = AppendTuple(dst, len(v))
		for _, e := range v {
			dst = appendTerm(dst, e)
		}
	case []any:
		dst = AppendList(dst, len(v))
		for _, e := range v {
			dst = appendTerm(dst, e)
		}
		if len(v) > 0 {
			dst = AppendList(dst, 0)
		}
	case Map:
		dst = AppendMap(dst, len(v))
		for _, p := range v {
			dst = appendTerm(appendTerm(dst, p[0]), p[1])
		}
	case int64:
		dst = AppendInt(dst, v)
	case Atom:
		dst = AppendAtom(dst, v)
	case []byte:
		dst = AppendBinary(dst, v)
	}
	return dst
}

func terms(depth int) *rapid.Generator[any] {
	scalar := rapid.OneOf(
		rapid.Map(rapid.Int64(), func(n int64) any { return n }),
		rapid.Map(rapid.StringN(0, 40, 255), func(s string) any { return Atom(s) }),
		rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) any { return b }),
	)
	if depth == 0 {
		return scalar
	}
	inner := rapid.SliceOfN(terms(depth-1), 0, 4)
	return rapid.OneOf(scalar,
		rapid.Map(inner, func(v []any) any { return Tuple(v) }),
		rapid.Map(inner, func(v []any) any { return v }),
		rapid.Map(rapid.MapOfN(rapid.Int64(), terms(depth-1), 0, 4), func(v map[int64]any) any {
			m := Map{}
			for k, e := range v {
				m = append(m, [2]any{k, e})
			}
			return m
		}))
}

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		term := terms(3).Draw(t, "term")
		trail := rapid.SliceOf(rapid.Byte()).Draw(t, "trail")
		plain := appendTerm([]byte{Version}, term)
		got, err := Decode(append(bytes.Clone(plain), trail...), Limits{})
		if err != nil || !reflect.DeepEqual(got, term) {
			t.Fatalf("got %#v, %v; want %#v", got, err, term)
		}
		r, err := Open(append(plain, trail...), Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if r.Skip(); r.Err() != nil || r.Offset() != len(plain)-1 {
			t.Fatalf("skip ends at %d of %d: %v", r.Offset(), len(plain)-1, r.Err())
		}
		cut := rapid.IntRange(0, len(plain)-1).Draw(t, "cut")
		if _, err := Decode(plain[:cut], Limits{}); err == nil {
			t.Fatalf("cut to %d of %d bytes it still decodes", cut, len(plain))
		}
	})
}

func FuzzDecode(f *testing.F) {
	for _, text := range []string{
		"61 01", "6b 00 03 01 02 03", "74 00 00 00 01 61 0a 6d 00 00 00 01 61", "46 3f f8 00 00 00 00 00 00",
		"6c 00 00 00 01 77 02 6f 6b 6a", "68 02 6e 06 00 80 59 54 83 98 01 64 00 02 fc 6b", "4d 00 00 00 01 03 e0",
		"75 00 00 00 00 67 77 00 00 00 00 01 00 00 00 00 01 77 01 6d 61 00 62 00 00 00 01",
	} {
		f.Add(octets(f, text))
		f.Add(compress(f, len(octets(f, text))-1, octets(f, text)[1:]))
	}
	lim := Limits{Inflated: 1 << 20, Inflaters: new(sync.Pool)}
	f.Fuzz(func(t *testing.T, in []byte) {
		kept := bytes.Clone(in)
		r, err := Open(in, lim)
		if err != nil {
			if !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrLimit) {
				t.Fatalf("untyped error %v", err)
			}
			return
		}
		skipped, flat := r, r
		v := r.Term()
		skipped.Skip()
		data := flat.IOData()
		if !bytes.Equal(in, kept) {
			t.Fatal("the input was changed")
		}
		if len(data) > len(r.Bytes()) {
			t.Fatalf("iolist of %d bytes from %d", len(data), len(r.Bytes()))
		}
		if r.Err() != nil {
			return
		}
		if skipped.Err() != nil || skipped.Offset() != r.Offset() {
			t.Fatalf("Term ends at %d, Skip at %d: %v", r.Offset(), skipped.Offset(), skipped.Err())
		}
		again, err := Decode(in, lim)
		if err != nil || !bytes.Equal(appendIdentity(nil, again), appendIdentity(nil, v)) {
			t.Fatalf("decoded twice: %#v and %#v, %v", v, again, err)
		}
	})
}
