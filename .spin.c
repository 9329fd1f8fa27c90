int main(void){ for(;;) __builtin_ia32_pause(); }
