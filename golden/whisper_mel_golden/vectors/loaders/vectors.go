// Package vectors judges a front-end by the vectors.
package vectors

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"strings"
)

func read[T int16 | float32 | float64](path string, count int) []T {
	values := make([]T, count)
	data, err := os.ReadFile(path + ".npy")
	if err == nil {
		err = binary.Read(bytes.NewReader(data[10+int(data[8]):]), binary.LittleEndian, values)
	}
	if err != nil {
		panic(path + ": " + err.Error())
	}
	return values
}

// Judge returns the worst score, up to 4 conforms, and the name of its case. logMel returns nMels rows
// of features, in one array, of samples that zeros follow up to padTo; 0 stands for none.
func Judge(folder string, logMel func(audio []float32, nMels, padTo int) []float32) (float64, string) {
	worst, worstName := math.Inf(1), "" // until something is judged
	cases, _ := os.ReadFile(folder + "/cases.txt")
	for _, line := range strings.Split(string(cases), "\n") {
		var name, input, dtype string
		var n, nMels, padTo, bands, frames int
		format := "%s %s %s %d %d %d none %d %d" // smoothing is no part of Whisper
		if count, _ := fmt.Sscanf(line, format, &name, &input, &dtype, &n, &nMels, &padTo, &bands, &frames); count < 8 {
			continue
		}
		audio := make([]float32, n)
		if dtype == "float32" {
			audio = read[float32](folder+"/inputs/"+input, n)
		} else {
			for i, sample := range read[int16](folder+"/inputs/"+input, n) {
				audio[i] = float32(sample) / 32768
			}
		}
		features, bound := logMel(audio, nMels, padTo), read[float32](folder+"/bounds/"+name, bands*frames)
		for i, value := range read[float64](folder+"/expected/"+name, bands*frames) {
			score := math.Inf(1) // where features are missing or NaN
			if len(features) == bands*frames && features[i] == features[i] {
				score = math.Abs(float64(features[i])-value) / float64(bound[i])
			}
			if worstName == "" || score > worst {
				worst, worstName = score, name
			}
		}
	}
	return worst, worstName
}
