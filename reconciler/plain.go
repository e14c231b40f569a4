package reconciler

import (
	"encoding/base64"
	"encoding/gob"
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
)

// plain turns a value into what JSON can hold without losing any of it. The
// model's own JSON form will not do: it is made to be shown, so it leaves out
// positions and digests and hides literals. Nor will gob, which takes a
// pointer to false for no pointer and an empty list for none.
//
// Structs become objects by Go's field names, without fields that are zero;
// what encodes itself for gob (times, secrets) becomes base64 of that.
func plain(v reflect.Value) (any, error) {
	if g, ok := v.Interface().(gob.GobEncoder); ok && v.Kind() == reflect.Struct {
		b, err := g.GobEncode()
		return base64.StdEncoding.EncodeToString(b), err
	}
	switch {
	case v.CanInt():
		return v.Int(), nil
	case v.CanUint():
		return v.Uint(), nil
	}
	switch v.Kind() {
	case reflect.Bool:
		return v.Bool(), nil
	case reflect.String:
		return v.String(), nil
	case reflect.Pointer:
		if v.IsNil() {
			return nil, nil
		}
		return plain(v.Elem())
	case reflect.Slice:
		return plainSlice(v)
	case reflect.Map:
		return plainMap(v)
	case reflect.Struct:
		return plainStruct(v)
	}
	return nil, fmt.Errorf("%s cannot be saved", v.Type())
}

func plainSlice(v reflect.Value) (any, error) {
	if v.IsNil() {
		return nil, nil
	}
	out := make([]any, v.Len())
	for i := range out {
		var err error
		if out[i], err = plain(v.Index(i)); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func plainMap(v reflect.Value) (any, error) {
	if v.Type().Key().Kind() != reflect.String {
		return nil, fmt.Errorf("%s cannot be saved: its keys are no strings", v.Type())
	}
	if v.IsNil() {
		return nil, nil
	}
	out := make(map[string]any, v.Len())
	for it := v.MapRange(); it.Next(); {
		x, err := plain(it.Value())
		if err != nil {
			return nil, err
		}
		out[it.Key().String()] = x
	}
	return out, nil
}

func plainStruct(v reflect.Value) (any, error) {
	out := map[string]any{}
	for f, x := range v.Fields() {
		if !f.IsExported() {
			return nil, fmt.Errorf("%s cannot be saved: field %s is not exported", v.Type(), f.Name)
		}
		if x.IsZero() {
			continue
		}
		p, err := plain(x)
		if err != nil {
			return nil, err
		}
		out[f.Name] = p
	}
	return out, nil
}

// unplain sets v to what plain made x of. Fields that the type no longer has
// are passed over.
func unplain(x any, v reflect.Value) error {
	if x == nil {
		return nil
	}
	if g, ok := v.Addr().Interface().(gob.GobDecoder); ok && v.Kind() == reflect.Struct {
		s, _ := x.(string)
		b, err := base64.StdEncoding.DecodeString(s)
		if err != nil {
			return err
		}
		return g.GobDecode(b)
	}
	switch x := x.(type) {
	case bool:
		if v.Kind() == reflect.Bool {
			v.SetBool(x)
			return nil
		}
	case string:
		if v.Kind() == reflect.String {
			v.SetString(x)
			return nil
		}
	case json.Number:
		if v.CanInt() || v.CanUint() {
			return unplainNumber(string(x), v)
		}
	case []any:
		if v.Kind() == reflect.Slice {
			return unplainSlice(x, v)
		}
	case map[string]any:
		switch v.Kind() {
		case reflect.Map:
			return unplainMap(x, v)
		case reflect.Struct:
			return unplainStruct(x, v)
		}
	}
	if v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
		return unplain(x, v.Elem())
	}
	return fmt.Errorf("a %T stands where a %s belongs", x, v.Type())
}

func unplainNumber(s string, v reflect.Value) error {
	if v.CanUint() {
		n, err := strconv.ParseUint(s, 10, v.Type().Bits())
		v.SetUint(n)
		return err
	}
	n, err := strconv.ParseInt(s, 10, v.Type().Bits())
	v.SetInt(n)
	return err
}

func unplainSlice(list []any, v reflect.Value) error {
	v.Set(reflect.MakeSlice(v.Type(), len(list), len(list)))
	for i, x := range list {
		if err := unplain(x, v.Index(i)); err != nil {
			return err
		}
	}
	return nil
}

func unplainMap(m map[string]any, v reflect.Value) error {
	t := v.Type()
	if t.Key().Kind() != reflect.String {
		return fmt.Errorf("%s has keys that are no strings", t)
	}
	v.Set(reflect.MakeMapWithSize(t, len(m)))
	for name, x := range m {
		e := reflect.New(t.Elem()).Elem()
		if err := unplain(x, e); err != nil {
			return err
		}
		v.SetMapIndex(reflect.ValueOf(name).Convert(t.Key()), e)
	}
	return nil
}

func unplainStruct(m map[string]any, v reflect.Value) error {
	for f, field := range v.Fields() {
		x, ok := m[f.Name]
		if !ok || !f.IsExported() {
			continue
		}
		if err := unplain(x, field); err != nil {
			return fmt.Errorf("%s: %w", f.Name, err)
		}
	}
	return nil
}
